package client

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// Credentials give the token that a request carries: a ServiceAccount's token for the store's audience, or a
// ticket. Implementations may be called concurrently.
type Credentials interface {
	// Token returns the token to send. refused is the token that the dataplane answered 401 to, or empty; returning
	// the same one again means that there is no other, and the request fails.
	Token(ctx context.Context, refused string) (string, error)
}

// Token is a token that never changes, such as a ticket.
type Token string

// Token implements Credentials.
func (t Token) Token(context.Context, string) (string, error) { return string(t), nil }

// TokenFile is the path of a file that holds the token, such as a projected volume. It is read for each request, so
// a token that was rotated is used at once.
type TokenFile string

// Token implements Credentials.
func (f TokenFile) Token(context.Context, string) (string, error) {
	b, err := os.ReadFile(string(f))
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// TokenFunc is a function that gives tokens, with the contract of Credentials.Token.
type TokenFunc func(ctx context.Context, refused string) (string, error)

// Token implements Credentials.
func (f TokenFunc) Token(ctx context.Context, refused string) (string, error) { return f(ctx, refused) }

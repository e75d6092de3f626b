package session

import "fmt"

// ID names one session for ever: an ID is never used again for another
// session. It is 1 to 64 lower-case letters, digits and '-', and begins with
// a letter or digit, so that it is safe as the name of a directory.
type ID string

const maxIDLength = 64

// ParseID returns s as an ID, or ErrInvalid.
func ParseID(s string) (ID, error) {
	if s == "" || len(s) > maxIDLength || s[0] == '-' {
		return "", fmt.Errorf("%w: session ID %q must have 1 to %d characters and begin with a letter or digit", ErrInvalid, s, maxIDLength)
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return "", fmt.Errorf("%w: session ID %q must have only a-z, 0-9 and '-'", ErrInvalid, s)
		}
	}
	return ID(s), nil
}

package uploader

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

// Caller sends requests as somebody.
type Caller struct {
	HTTP *http.Client
	// Token goes with each request; empty for none but what HTTP adds.
	Token string
}

// Refusal is the dataplane's problem as an error.
type Refusal struct {
	chunkapi.Problem
	// RetryAfter is when the same request is worth trying again; 0 where the reply does not say.
	RetryAfter time.Duration
}

// Error says what was refused and why.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Detail) }

// Call makes the request and reads a reply with one of the wanted codes into
// into; any other comes back as a *Refusal.
func (c Caller) Call(request *http.Request, into any, want ...int) (int, error) {
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, err
	}
	for _, code := range want {
		if response.StatusCode == code {
			if into == nil {
				return code, nil
			}
			return code, json.Unmarshal(body, into)
		}
	}
	refusal := &Refusal{}
	if err := json.Unmarshal(body, &refusal.Problem); err != nil {
		return 0, fmt.Errorf("%s with a body that is no problem: %q", response.Status, body)
	}
	refusal.Status = response.StatusCode
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		refusal.RetryAfter = time.Duration(seconds) * time.Second
	}
	return 0, refusal
}

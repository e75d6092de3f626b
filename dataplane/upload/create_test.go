package upload

import (
	"errors"
	"testing"
)

func TestWhatCreationErrorsSay(t *testing.T) {
	for _, c := range []struct {
		err  error
		is   error
		want string
	}{
		{&InvalidError{Message: "no"}, ErrInvalidSpec, "the spec is invalid: no"},
		{&InvalidError{Message: "no", Causes: []Cause{{"key", "is too long"}}}, ErrInvalidSpec, "the spec is invalid: key: is too long"},
		{&InvalidError{Message: "no", Causes: []Cause{{"", "has too many chunks"}}}, ErrInvalidSpec, "the spec is invalid: has too many chunks"},
		{&InvalidError{Message: "no", Causes: []Cause{{"key", "is too long"}, {"", "x"}}}, ErrInvalidSpec, "the spec is invalid: 2 causes"},
		{
			&RejectedError{Name: Name{"ml", "abc"}, Result: Result{Reason: "QuotaRejected", Message: "There is no room."}}, ErrRejected,
			"the session was rejected: ml/abc: QuotaRejected: There is no room.",
		},
	} {
		if c.err.Error() != c.want {
			t.Errorf("got  %q\nwant %q", c.err, c.want)
		}
		if !errors.Is(c.err, c.is) || errors.Is(c.err, ErrForbidden) {
			t.Errorf("%v is not just %v", c.err, c.is)
		}
	}
}

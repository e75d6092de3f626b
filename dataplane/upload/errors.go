package upload

import (
	"errors"
	"fmt"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Errors of this package, beside those of package session that pass through.
var (
	// ErrUnknown means that there is no such upload, here or in the directory.
	ErrUnknown = errors.New("no such upload session")
	// ErrNotReady means that the upload exists and may start later: it was not admitted yet.
	ErrNotReady = errors.New("upload session is not admitted yet")
	// ErrComparing means that no chunk is taken yet: the object under the key is read, which may be the one
	// that the upload is to make.
	ErrComparing = errors.New("the object under the key is being compared")
	// ErrElsewhere means that another replica holds the upload; where it is known which, it comes
	// as *ElsewhereError.
	ErrElsewhere = errors.New("upload session is held by another replica")
	// ErrAway means that the replica that holds the upload can't be reached now.
	ErrAway = errors.New("the replica that holds the upload session can't be reached now")
	// ErrUnavailable means that the directory can't be asked now.
	ErrUnavailable = errors.New("can't tell now whether the upload session exists")
	// ErrNameTaken means that the name belongs to an upload with another ID; it comes as *NameTakenError.
	ErrNameTaken = errors.New("name belongs to another upload session")
	// ErrNotPublished means that the upload has no object to read (yet).
	ErrNotPublished = errors.New("no object was published")
	// ErrKeptApart means that the upload adopted an object of which it sent nothing, in a store that keeps its
	// users apart: it may be somebody else's.
	ErrKeptApart = errors.New("the object was adopted, and may be somebody else's")
	// ErrReplaced means that what is under the key now is not what this upload published.
	ErrReplaced = errors.New("the object was replaced or removed since")
)

// NameTakenError says which upload has the name. It is an ErrNameTaken.
type NameTakenError struct {
	Name Name
	ID   session.ID
}

// Error says which upload has the name.
func (e *NameTakenError) Error() string {
	return fmt.Sprintf("%s: %s is %s", ErrNameTaken, e.Name, e.ID)
}

// Is makes the error an ErrNameTaken.
func (e *NameTakenError) Is(target error) bool { return target == ErrNameTaken }

// ElsewhereError says which replica holds an upload. It is an ErrElsewhere.
type ElsewhereError struct {
	// Replica is its name, and Endpoint the base URL under which it was when it took the upload.
	Replica, Endpoint string
}

// Error says which replica it is, and where.
func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("%s: %s at %s", ErrElsewhere, e.Replica, e.Endpoint)
}

// Is makes the error an ErrElsewhere.
func (e *ElsewhereError) Is(target error) bool { return target == ErrElsewhere }

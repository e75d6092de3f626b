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
	// ErrElsewhere means that another replica holds the upload.
	ErrElsewhere = errors.New("upload session is held by another replica")
	// ErrUnavailable means that the directory can't be asked now.
	ErrUnavailable = errors.New("can't tell now whether the upload session exists")
	// ErrNameTaken means that the name belongs to an upload with another ID; it comes as *NameTakenError.
	ErrNameTaken = errors.New("name belongs to another upload session")
	// ErrNotPublished means that the upload has no object to read (yet).
	ErrNotPublished = errors.New("no object was published")
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

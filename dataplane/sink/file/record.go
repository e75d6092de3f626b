package file

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"unicode/utf8"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// recordFormat is the version of the records written, and the newest that can be read.
const recordFormat = 2

type storedRecord struct {
	Format int `json:"format"`
	session.Record
}

// SaveRecord replaces the record in one step. It writes to room that Create
// reserved: a record at most 8 KiB longer than the one created can be saved on
// a full volume too. ErrInvalid where it breaks a bound.
func (s *Sink) SaveRecord(ctx context.Context, r session.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := encodeRecord(r)
	if err != nil {
		return err
	}
	defer s.guards.lock(r.ID)()

	return failure("save the record of session "+string(r.ID), s.saveRecord(r.ID, b))
}

func encodeRecord(r session.Record) ([]byte, error) {
	if err := checkRecord(r); err != nil {
		return nil, err
	}
	b, err := json.Marshal(storedRecord{Format: recordFormat, Record: r})
	if err != nil {
		return nil, fmt.Errorf("%w: record of session %s: %w", session.ErrInvalid, r.ID, err)
	}
	return b, nil
}

func decodeRecord(b []byte) (session.Record, error) {
	// The format alone first: of a newer one nothing else can be relied on.
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return session.Record{}, fmt.Errorf("damaged record: %w", err)
	}
	switch {
	case version.Format > recordFormat:
		return session.Record{}, fmt.Errorf("record of format %d, this version knows formats up to %d", version.Format, recordFormat)
	case version.Format < 1:
		return session.Record{}, fmt.Errorf("damaged record: no format %d", version.Format)
	}
	var stored storedRecord
	if err := json.Unmarshal(b, &stored); err != nil {
		return session.Record{}, fmt.Errorf("damaged record: %w", err)
	}
	if err := checkRecord(stored.Record); err != nil {
		return session.Record{}, fmt.Errorf("damaged record: %w", err)
	}
	return stored.Record, nil
}

// checkRecord returns nil for a record that reads back as it was written.
func checkRecord(r session.Record) error {
	if _, err := session.ParseID(string(r.ID)); err != nil {
		return err
	}
	if err := r.Spec.Validate(); err != nil {
		return err
	}
	refuse := func(why string) error { return fmt.Errorf("%w: session %s: %s", session.ErrInvalid, r.ID, why) }
	switch {
	case len(r.Outcome) > session.MaxPayload:
		return refuse(fmt.Sprintf("the outcome is longer than %d bytes", session.MaxPayload))
	case !utf8.ValidString(r.Spec.Owner) || !utf8.ValidString(r.Spec.Key):
		return refuse("owner or key is not valid UTF-8")
	}
	switch r.State {
	case session.Open, session.Finished, session.Failed, session.Aborted, session.Expired:
		return nil
	case session.Sealed:
		return refuse("the state Sealed is never stored")
	default:
		return refuse(fmt.Sprintf("no state is %q", r.State))
	}
}

// readRecord reads the record in the directory of a session.
func readRecord(dir *os.Root, id session.ID) (session.Record, error) {
	f, err := openRecord(dir, os.O_RDONLY)
	if err != nil {
		return session.Record{}, err
	}
	defer release(f.file)
	newest, err := f.newest()
	if err != nil {
		return session.Record{}, err
	}
	r, err := decodeRecord(newest.stored)
	if err == nil && r.ID != id {
		err = fmt.Errorf("the record is of session %s", r.ID)
	}
	return r, err
}

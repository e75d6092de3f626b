package file_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

func TestRecordsThatWouldNotReadBack(t *testing.T) {
	good := record("s", 100)
	for name, change := range map[string]func(r *session.Record){
		"owner is no text": func(r *session.Record) { r.Spec.Owner = "\xff" },
		"key is no text":   func(r *session.Record) { r.Spec.Key = "a\x80" },
		"no state":         func(r *session.Record) { r.State = "" },
		"unknown state":    func(r *session.Record) { r.State = "Odd" },
		"sealed":           func(r *session.Record) { r.State = session.Sealed },
		"long outcome":     func(r *session.Record) { r.Outcome = make([]byte, session.MaxPayload+1) },
		"no year":          func(r *session.Record) { r.Created = time.Unix(math.MaxInt32*1000, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			r := good
			change(&r)
			_, err := file.EncodeRecord(r)
			wants(t, err, session.ErrInvalid)
		})
	}
}

func TestTheLargestRecordReadsBack(t *testing.T) {
	r := record("s", session.MaxSize)
	r.Spec.ChunkSize = session.MaxSize / session.MaxChunks * 2
	r.Spec.Owner, r.Spec.Key = strings.Repeat("\x01", session.MaxOpaque), strings.Repeat("<", session.MaxOpaque)
	r.Spec.Payload, r.Outcome = make([]byte, session.MaxPayload), make([]byte, session.MaxPayload)
	sink := mustOpen(t, t.TempDir())
	small := r
	small.Spec.Size, small.Spec.ChunkSize = 10, 5
	must(t, sink.Create(background, small))
	found, failed := recovered(t, sink)
	if got := found["s"]; len(failed) > 0 || got.Spec.Owner != r.Spec.Owner || got.Spec.Key != r.Spec.Key || len(got.Outcome) != session.MaxPayload {
		t.Errorf("recovered %+v, failed %v", got, failed)
	}
}

// FuzzDecodeRecord checks that a record which is accepted keeps all bounds and reads back the same.
func FuzzDecodeRecord(f *testing.F) {
	r := record("s", 100)
	for _, change := range []func(){
		func() {},
		func() { r.Spec.Owner, r.Spec.Key, r.Spec.Payload = "o", "k", []byte{1, 2} },
		func() { r.State, r.Ended, r.Outcome = session.Expired, r.Created, []byte("x") },
		func() { r.Spec.Deadline = time.Date(2026, 1, 1, 0, 0, 0, 1, time.FixedZone("", 3600)) },
	} {
		change()
		b, err := file.EncodeRecord(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	for _, s := range []string{"", "{}", "null", `{"format":2}`, `{"format":0}`, `{"format":1}`, `{"format":"1"}`, `[]`, "{\"format\":1,\"id\":\"..\"}", "\x00\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := file.DecodeRecord(b)
		if err != nil {
			return
		}
		if err := r.Spec.Validate(); err != nil {
			t.Fatal(err)
		}
		first, err := file.EncodeRecord(r)
		if err != nil {
			t.Fatalf("an accepted record can't be stored: %v", err)
		}
		again, err := file.DecodeRecord(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := file.EncodeRecord(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s reads back as %s, %v", first, second, err)
		}
	})
}

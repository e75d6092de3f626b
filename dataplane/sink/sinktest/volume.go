package sinktest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Volume is an open sink and the means to mistreat it.
type Volume struct {
	// Sink is the sink under test. What it can publish is tested when it is a session.Publisher too.
	Sink session.ByteSink
	// KeepsNotes is whether the volume is one that keeps notes.
	KeepsNotes bool
	// Close closes it as its owner would.
	Close func() error
	// Crash leaves everything as the death of the process would, so that the place can be opened
	// again. The sink is not used any more.
	Crash func() error
	// EditSlot changes the stored slot of a chunk behind the sink's back.
	EditSlot func(id session.ID, index int, edit func(slot []byte)) error
	// DamageRecord makes the stored record of a session unreadable.
	DamageRecord func(id session.ID) error
}

// Opener opens the sink that is kept in a directory, which is there and, for a
// new sink, empty.
type Opener func(dir string) (Volume, error)

// place is one directory, and the sink over it that is open now.
type place struct {
	t    *testing.T
	open Opener
	dir  string
	Volume
}

func newPlace(t *testing.T, open Opener) *place {
	t.Helper()
	p := &place{t: t, open: open, dir: t.TempDir()}
	p.reopen()
	t.Cleanup(func() { p.must(p.Close()) })
	return p
}

func (p *place) reopen() {
	p.t.Helper()
	v, err := p.open(p.dir)
	p.must(err)
	p.Volume = v
}

// restarts are the two ways in which a process ends.
var restarts = map[string]func(p *place){
	"after Close": func(p *place) { p.must(p.Close()); p.reopen() },
	"after crash": func(p *place) { p.must(p.Crash()); p.reopen() },
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) wants(err, want error) {
	p.t.Helper()
	if !errors.Is(err, want) {
		p.t.Fatalf("got error %v, want %v", err, want)
	}
}

func (p *place) publisher() session.Publisher {
	p.t.Helper()
	publisher, ok := p.Sink.(session.Publisher)
	if !ok {
		p.t.Skip("the sink does not publish")
	}
	return publisher
}

// record describes a session with every field set.
func record(id session.ID, size, chunkSize int64) session.Record {
	created := time.Date(2026, 5, 4, 3, 2, 1, 987654321, time.UTC)
	return session.Record{
		ID: id,
		Spec: session.Spec{
			Owner: "owner <é>", Key: "key", Size: size, ChunkSize: chunkSize,
			IdleTimeout: time.Minute, Deadline: created.Add(time.Hour), Payload: []byte{0, 1, 0xff},
		},
		State:   session.Open,
		Created: created,
	}
}

// content is what chunk index of a session holds, the same in every process.
func content(id session.ID, spec session.Spec, index int) []byte {
	var seed [32]byte
	copy(seed[:], id)
	binary.LittleEndian.PutUint32(seed[28:], crc32.ChecksumIEEE(fmt.Appendf(nil, "%s %d", id, index)))
	_, length, err := spec.Extent(index)
	if err != nil {
		panic(err)
	}
	b := make([]byte, length)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

// whole is what all chunks of a session hold.
func whole(id session.ID, spec session.Spec) []byte {
	var b []byte
	for index := range spec.Chunks() {
		b = append(b, content(id, spec, index)...)
	}
	return b
}

func slotOf(b []byte) session.Slot {
	return session.Slot{Length: int64(len(b)), Checksum: uint64(crc32.ChecksumIEEE(b))}
}

// commit writes and commits one chunk.
func commit(staged session.Staged, id session.ID, spec session.Spec, index int) error {
	offset, _, err := spec.Extent(index)
	if err != nil {
		return err
	}
	b := content(id, spec, index)
	if n, err := staged.WriteAt(b, offset); err != nil || n != len(b) {
		return fmt.Errorf("wrote %d of %d bytes: %w", n, len(b), err)
	}
	return staged.Commit(background, index, offset, slotOf(b))
}

// fill opens the session and commits the chunks.
func fill(sink session.ByteSink, id session.ID, spec session.Spec, indexes ...int) (err error) {
	staged, err := sink.Open(background, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, staged.Close()) }()
	for _, index := range indexes {
		if err := commit(staged, id, spec, index); err != nil {
			return err
		}
	}
	return nil
}

// create makes a session that holds the chunks.
func (p *place) create(r session.Record, indexes ...int) {
	p.t.Helper()
	p.must(p.Sink.Create(background, r))
	if len(indexes) > 0 {
		p.must(fill(p.Sink, r.ID, r.Spec, indexes...))
	}
}

// createFull makes a session that holds all its chunks.
func (p *place) createFull(r session.Record) {
	p.t.Helper()
	p.create(r)
	p.must(fill(p.Sink, r.ID, r.Spec, all(r.Spec)...))
}

func all(spec session.Spec) []int {
	indexes := make([]int, spec.Chunks())
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

// recover returns the sessions by ID and the errors by the ID they came with.
func (p *place) recover() (map[session.ID]session.Recovered, map[session.ID]error) {
	p.t.Helper()
	return recoverAll(p.Sink)
}

func recoverAll(sink session.ByteSink) (map[session.ID]session.Recovered, map[session.ID]error) {
	found, failed := map[session.ID]session.Recovered{}, map[session.ID]error{}
	for r, err := range sink.Recover(background) {
		if err != nil {
			failed[r.ID] = err
			continue
		}
		found[r.ID] = r
	}
	return found, failed
}

// recovered is the only way from a session to what a restart makes of it.
func (p *place) recovered(id session.ID) session.Recovered {
	p.t.Helper()
	found, failed := p.recover()
	if len(failed) > 0 {
		p.t.Fatalf("recovery failed: %v", failed)
	}
	r, ok := found[id]
	if !ok {
		p.t.Fatalf("session %s is not recovered", id)
	}
	return r
}

// holds checks the chunks of a session: those given are held and have their bytes, no others are.
func (p *place) holds(id session.ID, spec session.Spec, indexes ...int) {
	p.t.Helper()
	want := map[int]bool{}
	for _, index := range indexes {
		want[index] = true
	}
	staged, err := p.Sink.Open(background, id)
	p.must(err)
	defer func() { p.must(staged.Close()) }()
	for index := range spec.Chunks() {
		slot, held, err := p.Sink.Slot(background, id, index)
		p.must(err)
		if held != want[index] {
			p.t.Fatalf("chunk %d: held is %t", index, held)
		}
		if held {
			p.must(chunkIs(staged, id, spec, index, slot))
		}
	}
}

// chunkIs returns nil when slot and bytes of a chunk are what was committed.
func chunkIs(staged io.ReaderAt, id session.ID, spec session.Spec, index int, slot session.Slot) error {
	want := content(id, spec, index)
	if slot != slotOf(want) {
		return fmt.Errorf("chunk %d of session %s: slot %+v, want %+v", index, id, slot, slotOf(want))
	}
	offset, length, err := spec.Extent(index)
	if err != nil {
		return err
	}
	got := make([]byte, length)
	if _, err := staged.ReadAt(got, offset); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("chunk %d of session %s: other bytes than committed", index, id)
	}
	return nil
}

// object reads what is published under a name.
func object(publisher session.Publisher, name string) (_ []byte, err error) {
	o, err := publisher.OpenObject(background, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	b, err := io.ReadAll(o)
	if err == nil && int64(len(b)) != o.Size() {
		err = fmt.Errorf("object %s has size %d and %d bytes", name, o.Size(), len(b))
	}
	return b, err
}

// shows checks that a name shows the whole of a session.
func (p *place) shows(name string, id session.ID, spec session.Spec) {
	p.t.Helper()
	got, err := object(p.publisher(), name)
	p.must(err)
	if !bytes.Equal(got, whole(id, spec)) {
		p.t.Fatalf("object %s is not the bytes of session %s", name, id)
	}
}

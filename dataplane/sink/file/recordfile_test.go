package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// TestATornRecord tears the next version of a record in many places: what was
// saved before is found, or the whole of the next one.
func TestATornRecord(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	path := filepath.Join(area(dir), "s", "record")
	r := record("s", 100)
	must(t, sink.Create(background, r))
	for save := range 3 {
		before, err := os.ReadFile(path)
		must(t, err)
		r.Spec.Payload = fmt.Appendf(nil, "payload %d", save)
		must(t, sink.SaveRecord(background, r))
		after, err := os.ReadFile(path)
		must(t, err)
		last := 0
		for i := range after {
			if before[i] != after[i] {
				last = i
			}
		}
		for cut := last % 23; cut <= last+1; cut = min(cut+23, max(cut+1, last+1)) {
			torn := append(append([]byte(nil), after[:cut]...), before[cut:]...)
			must(t, os.WriteFile(path, torn, 0o600))
			found, failed := recovered(t, sink)
			got := string(found["s"].Spec.Payload)
			want := fmt.Sprintf("payload %d", save-1)
			if save == 0 {
				want = ""
			}
			if cut == last+1 {
				want = string(r.Spec.Payload)
			}
			if len(failed) > 0 || got != want {
				t.Fatalf("save %d torn after %d bytes: %q, want %q, %v", save, cut, got, want, failed)
			}
		}
	}
}

// TestARecordThatOutgrowsItsRoom is longer than what was reserved, once and for all.
func TestARecordThatOutgrowsItsRoom(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	r := record("s", 100)
	must(t, sink.Create(background, r))
	for _, length := range []int{100, 5 << 10, session.MaxPayload, 10, session.MaxPayload} {
		r.Outcome = make([]byte, length)
		must(t, sink.SaveRecord(background, r))
		found, failed := recovered(t, sink)
		if len(failed) > 0 || len(found["s"].Outcome) != length {
			t.Fatalf("an outcome of %d bytes reads back with %d, %v", length, len(found["s"].Outcome), failed)
		}
	}
}

// TestAfterASaveThatMayHaveFailed has the next save touch neither version.
func TestAfterASaveThatMayHaveFailed(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	path := filepath.Join(area(dir), "s", "record")
	r := record("s", 100)
	must(t, sink.Create(background, r))
	first, err := os.Stat(path)
	must(t, err)
	must(t, sink.SaveRecord(background, r))
	if now, err := os.Stat(path); err != nil || !os.SameFile(first, now) {
		t.Fatalf("a save that can be made in place was not: %v", err)
	}
	sink.Doubt("s")
	must(t, sink.SaveRecord(background, r))
	second, err := os.Stat(path)
	must(t, err)
	if os.SameFile(first, second) {
		t.Error("the file was written to of which nobody knows what is on the disk")
	}
	must(t, sink.SaveRecord(background, r))
	if now, err := os.Stat(path); err != nil || !os.SameFile(second, now) {
		t.Errorf("the doubt lasts: %v", err)
	}
}

package file_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

// FuzzRecover: whatever another writer puts in the place of a file of a staged
// session, or beside it, recovery ends, tells of it or takes it for a session
// that keeps every bound, loses no other session and touches nothing outside.
func FuzzRecover(f *testing.F) {
	for kind := range byte(6) {
		for _, path := range []string{"s/data", "s/ledger", "s/record", "s/object", "s/record.new", "s", "t", "t.new", "s.gone", ".hidden", "upper.Case"} {
			f.Add(path, kind, []byte("x"))
		}
	}
	f.Add("s/record", byte(0), make([]byte, 8<<10))
	f.Add("s/ledger", byte(0), make([]byte, 2*session.SlotSize))
	outside, volume := f.TempDir(), f.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string, kind byte, content []byte) {
		if !filepath.IsLocal(path) || len(path) > 200 || filepath.Clean(path) == "." {
			t.Skip()
		}
		dir, err := os.MkdirTemp(volume, "")
		must(t, err)
		defer func() { _ = os.RemoveAll(dir) }()
		sink, err := file.Open(dir, own)
		must(t, err)
		defer sink.Close()
		for _, id := range []session.ID{"s", "witness"} {
			must(t, sink.Create(background, record(id, 100)))
		}
		staging := area(dir)
		whole := below(t, filepath.Join(staging, "witness"))
		target := filepath.Join(staging, path)
		if filepath.Base(target) == ".lock" || target == filepath.Join(staging, "witness") || filepath.Dir(target) == filepath.Join(staging, "witness") {
			t.Skip() // the one is to be found whole, and the other is held open
		}
		if os.RemoveAll(target) != nil || os.MkdirAll(filepath.Dir(target), 0o700) != nil || !plant(target, secret, kind, content) {
			t.Skip()
		}
		for range 2 {
			found, failed := recovered(t, sink)
			if failed["witness"] != nil || !found["witness"].HasBytes {
				t.Fatalf("the other session is lost: %v, %v", found, failed)
			}
			for id, r := range found {
				if r.ID != id || r.Spec.Validate() != nil || len(r.Held) != r.Spec.Chunks() {
					t.Errorf("recovered %+v", r)
				}
				if slices.Contains(r.Held, true) && (path != "s/ledger" || kind != 0) {
					t.Errorf("chunks are held that nobody sent: %v", r.Held)
				}
			}
		}
		if now := below(t, filepath.Join(staging, "witness")); !slices.Equal(now, whole) {
			t.Errorf("the other session was %v and is %v", whole, now)
		}
		if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" || len(below(t, outside)) != 1 {
			t.Errorf("outside is %q, %v, %v", b, err, below(t, outside))
		}
	})
}

// plant puts something of a kind under a path; false where it can't be.
func plant(path, secret string, kind byte, content []byte) bool {
	switch kind % 6 {
	case 0:
		return os.WriteFile(path, content, 0o600) == nil
	case 1:
		return unix.Mkfifo(path, 0o600) == nil
	case 2:
		return os.Symlink(secret, path) == nil
	case 3:
		return os.Symlink(filepath.Dir(secret), path) == nil
	case 4:
		return os.Link(secret, path) == nil
	default:
		return os.Mkdir(path, 0o700) == nil
	}
}

package upload_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Objects of one size that were written within one tick of the volume's clock are different objects.
func TestNoSessionServesAnothersObject(t *testing.T) {
	r := newRig(t)
	r.volume.written = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for round := range 20 {
		first, second := rival(round, "a"), rival(round, "b")
		contents := map[session.ID][]byte{first.ID: content(2*round, 25), second.ID: content(2*round+1, 25)}
		var publishing sync.WaitGroup
		for _, g := range []upload.Grant{first, second} {
			r.accept(g)
			publishing.Go(func() {
				for index := range chunks(g) {
					if _, err := r.put(g, index, contents[g.ID]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		publishing.Wait()
		served := 0
		r.expectEnd(first.ID, upload.Published)
		r.expectEnd(second.ID, upload.Published)
		for _, g := range []upload.Grant{first, second} {
			object, _, err := r.Open(r.ctx, g.Name)
			if errors.Is(err, upload.ErrReplaced) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			served++
			if !bytes.Equal(readAll(t, object), contents[g.ID]) {
				t.Errorf("round %d: %s serves another's bytes", round, g.ID)
			}
		}
		if served != 1 {
			t.Errorf("round %d: %d sessions serve the object, want 1", round, served)
		}
	}
}

// rival is one of several uploads that replace the same key.
func rival(round int, name string) upload.Grant {
	return grant(fmt.Sprintf("%s-%d", name, round), replace, reclaimed, func(g *upload.Grant) {
		g.Name.Name = fmt.Sprintf("%s-%d", name, round)
	})
}

// What an earlier version published has no mark on the volume, and less in its record.
func (r *rig) asAnEarlierVersion(g upload.Grant, withIdentity bool) {
	r.tb.Helper()
	info, err := os.Stat(r.path(g.Key))
	if err != nil {
		r.tb.Fatal(err)
	}
	if err := syscall.Removexattr(r.path(g.Key), "user.slipway-session"); err != nil {
		r.tb.Fatal(err)
	}
	st := r.known(g.ID)
	r.crashed()
	earlier := ""
	if withIdentity {
		inode := info.Sys().(*syscall.Stat_t).Ino //nolint:errcheck // Linux only
		earlier = fmt.Sprintf("%d-%d-%d", inode, info.Size(), info.ModTime().UnixNano())
	}
	sink := openVolume(r.tb, r.root)
	for _, err := range sink.Recover(r.ctx) { // which has to come first
		if err != nil {
			r.tb.Fatal(err)
		}
	}
	m := st.Meta
	if err := sink.SaveRecord(r.ctx, session.Record{
		ID: m.ID, Spec: m.Spec, State: m.State, Created: m.Created, Ended: m.Ended,
		Outcome: bytes.Replace(m.Outcome, []byte(st.Result.Identity), []byte(earlier), 1),
	}); err != nil {
		r.tb.Fatal(err)
	}
	sink.cut()
	r.start()
	if got := r.known(g.ID).Result.Identity; got != earlier {
		r.tb.Fatalf("the record has identity %q, want %q", got, earlier)
	}
}

func TestWhatAnEarlierVersionPublishedIsServedOnceItsBytesAreVerified(t *testing.T) {
	for _, withIdentity := range []bool{true, false} {
		t.Run(fmt.Sprintf("identity %t", withIdentity), func(t *testing.T) {
			r := newRig(t)
			g, object := grant("id", reclaimed), content(1, 25)
			r.publish(g, object)
			r.asAnEarlierVersion(g, withIdentity)
			for range 2 {
				opened, _, err := r.Open(r.ctx, g.Name)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(readAll(t, opened), object) {
					t.Error("other bytes are served")
				}
			}

			// Other bytes in the same inode, of the same size and time.
			info, err := os.Stat(r.path(g.Key))
			if err != nil {
				t.Fatal(err)
			}
			written := info.ModTime()
			if err := os.WriteFile(r.path(g.Key), content(2, 25), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(r.path(g.Key), written, written); err != nil {
				t.Fatal(err)
			}
			r.crash() // what was verified is not remembered
			_, _, err = r.Open(r.ctx, g.Name)
			expect(t, "other bytes", err, upload.ErrReplaced)
			if err := r.Forget(r.ctx, g.ID); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(r.under(g.Key), content(2, 25)) {
				t.Error("what is another's was removed")
			}
		})
	}
}

func TestWhatAnEarlierVersionPublishedIsReclaimedWhereItIsKnownForSure(t *testing.T) {
	r := newRig(t)
	g := grant("id", reclaimed)
	r.publish(g, content(1, 25))
	r.asAnEarlierVersion(g, true)
	if err := r.Forget(r.ctx, g.ID); err != nil {
		t.Fatal(err)
	}
	r.expectNothingUnder(g.Key)
}

// A newer version's object is never that of an older record, whatever else is alike.
func TestAMarkedObjectIsNoEarlierVersions(t *testing.T) {
	r := newRig(t)
	r.volume.written = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	g, object := grant("id", reclaimed, replace), content(1, 25)
	r.publish(g, object)
	r.asAnEarlierVersion(g, true)
	r.volume.written = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	other := rival(1, "other")
	r.publish(other, object) // the same bytes at the same time
	if err := r.Forget(r.ctx, g.ID); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.under(g.Key), object) {
		t.Error("the object of another session was removed")
	}
}

func (r *rig) stagedData(id session.ID) string {
	return filepath.Join(r.root, session.ReservedElement, "models-0.replica", string(id), "data")
}

// A session that an earlier version began gets its mark when it is published.
func TestWhatAnEarlierVersionStagedIsMarkedWhenItIsPublished(t *testing.T) {
	r := newRig(t)
	g := grant("id")
	r.accept(g)
	if err := syscall.Removexattr(r.stagedData("id"), "user.slipway-session"); err != nil {
		t.Fatal(err)
	}
	r.send(g, content(1, 25))
	r.expectPublished(g, content(1, 25))
	if got := r.known("id").Result.Identity; !strings.HasSuffix(got, "-id") {
		t.Errorf("the identity is %q", got)
	}
	mark := make([]byte, 64)
	n, err := syscall.Getxattr(r.path(g.Key), "user.slipway-session", mark)
	if err != nil || string(mark[:n]) != "id" {
		t.Errorf("the mark is %q, %v", mark[:max(n, 0)], err)
	}
}

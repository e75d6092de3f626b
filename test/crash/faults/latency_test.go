package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

const (
	// slow is how long a slow operation takes.
	slow = 3 * time.Second
	// soon is how long an answer may take that has no operation to wait for. It is much longer
	// than it takes, because the machine is shared.
	soon = slow - 500*time.Millisecond
)

// A volume that takes seconds slows down those who write to it, and nobody else.
func TestASlowVolumeSlowsOnlyItsWriters(t *testing.T) {
	t.Parallel() // most of it is waiting
	b := newBench(t)
	// Each session meets one operation that is slow wherever it comes to its files, and some
	// sessions are not even begun.
	var sessions, watched []*rig.Session
	for _, op := range powerfs.Ops() {
		s := b.begin(true)
		if !atBirth[op] {
			if _, reply := b.dataplane.Status(t.Context(), s); reply.Err != nil {
				t.Fatal(reply.Err)
			}
			watched = append(watched, s)
		}
		b.delay(op, s)
		sessions = append(sessions, s)
	}
	stop := b.watchAnswers(watched)
	var writers sync.WaitGroup
	for _, s := range sessions {
		writers.Go(func() {
			if !b.send(s) {
				t.Errorf("session %s is not published although nothing failed", s.Name)
			}
		})
	}
	writers.Wait()
	stop()
	b.must(b.oracle.Err())
	removing := []powerfs.Op{powerfs.Opendir, powerfs.Readdir, powerfs.Rmdir, powerfs.Unlink, powerfs.Rename, powerfs.FsyncDir}
	if !rig.Nightly() { // one after the other they take long
		removing = removing[b.random.IntN(len(removing)):][:1]
	}
	for _, op := range removing {
		b.disk.Inject(powerfs.Fault{Op: op, Path: ".slipway/*.replica/*", Times: 1, Delay: slow})
	}
	stop = b.watchAnswers(watched[1:])
	b.remove([]*rig.Session{watched[0], sessions[len(sessions)-1]}, func() bool { return false })
	stop()
	b.cut()
	b.finish()
}

// atBirth are the operations that are slow before the session is begun.
var atBirth = map[powerfs.Op]bool{powerfs.Fallocate: true, powerfs.Mkdir: true, powerfs.Statfs: true}

// watchAnswers asks for what has no operation to wait for, again and again until it is stopped.
func (b *bench) watchAnswers(of []*rig.Session) (stop func()) {
	health := b.health()
	watching, cancel := context.WithCancel(b.t.Context())
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for watching.Err() == nil {
			b.answersSoon(watching, health+"/healthz")
			b.answersSoon(watching, health+"/readyz")
			for _, s := range of {
				b.answersSoon(watching, b.dataplane.URL()+b.load.World.Path(s))
			}
			time.Sleep(10 * time.Millisecond) // the cores are for those who are watched
		}
	})
	return func() { cancel(); watcher.Wait() }
}

// delay makes an operation slow the next time that it is on the session's
// staged files, and on what it publishes.
func (b *bench) delay(op powerfs.Op, s *rig.Session) {
	paths := []string{".slipway/models-0.replica/" + s.UID + "*/*", s.Key}
	switch op {
	case powerfs.FsyncDir, powerfs.Mkdir, powerfs.Opendir:
		paths = []string{".slipway/models-0.replica/" + s.UID + "*", path.Dir(s.Key)}
	case powerfs.Statfs, powerfs.Syncfs: // of the volume
		paths = []string{"."}
	}
	for _, where := range paths {
		b.disk.Inject(powerfs.Fault{Op: op, Path: where, Times: 1, Delay: slow})
	}
}

// answersSoon asks, and complains where the answer is not 200 or took long.
func (b *bench) answersSoon(ctx context.Context, url string) {
	asking, stop := context.WithTimeout(ctx, 10*slow)
	defer stop()
	request, err := http.NewRequestWithContext(asking, http.MethodGet, url, http.NoBody)
	if err != nil {
		b.t.Error(err)
		return
	}
	began := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close() // it was read
	}
	switch took := time.Since(began); {
	case ctx.Err() != nil:
	case err != nil:
		b.t.Error(err)
	case response.StatusCode != http.StatusOK:
		b.t.Errorf("%s: %s", url, response.Status)
	case took > soon:
		b.t.Errorf("%s took %s", url, took)
	}
}

// health is where the dataplane that was started last answers probes: what it
// logged says so.
func (b *bench) health() string {
	log, err := os.ReadFile(b.dataplane.LogFile)
	b.must(err)
	address := ""
	for line := range bytes.Lines(log) {
		var at struct {
			Health string `json:"health"`
		}
		if json.Unmarshal(line, &at) == nil && at.Health != "" {
			address = at.Health
		}
	}
	return "http://" + address
}

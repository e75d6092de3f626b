package scale

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

const (
	// settling bounds the wait for what comes after the last status: events, and what a
	// dataplane frees when a session is gone.
	settling = time.Minute
	// samples is how many objects are read back.
	samples = 500
)

// verify checks how every session ended.
func (r *run) verify() {
	for i := range r.sessions {
		name := r.name(i)
		k, ok := r.tracker.look(name)
		switch {
		case !ok:
			r.violated("session %s is gone", name)
		case !k.success || k.outcome != v1alpha1.UploadOutcomePublished:
			r.violated("session %s ended %q, its condition Succeeded is True: %v", name, k.outcome, k.success)
		case k.size != r.options.objectBytes() || k.digest != r.contents.of(i).digest():
			r.violated("session %s has a result of %d bytes, %s", name, k.size, k.digest)
		}
	}
	if over := r.tracker.number(overOf); over > 0 {
		r.violated("more sessions were active than were allowed, after %d events", over)
	}
}

// verifyPublished checks that every object is there, also after its session was
// deleted, that some of them have the right bytes, and that nothing else is there.
func (r *run) verifyPublished() {
	entries, err := os.ReadDir(r.volume())
	if err != nil {
		r.violated("the volume can't be read: %v", err)
		return
	}
	objects := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), r.load+"-") {
			objects++
		}
	}
	if objects != r.sessions {
		r.violated("%d objects are published, not %d", objects, r.sessions)
	}
	for i := 0; i < r.sessions; i += max(1, r.sessions/samples) {
		got, err := os.ReadFile(filepath.Join(r.volume(), r.name(i)))
		if err != nil || !bytes.Equal(got, r.contents.of(i)) {
			r.violated("the object of session %s is not what was sent: %d bytes, %v", r.name(i), len(got), err)
		}
	}
}

// staged lists what the volume holds that is not published.
func (r *run) staged() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(r.volume(), ".slipway", replicaName+".replica"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// awaitGone waits until no session is left and nothing is staged.
func (r *run) awaitGone(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := r.tracker.until(bounded, "sessions left", leftOf, none)
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		r.violated("a finalizer hangs: %v", err)
	}
	var left []string
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, settling, true, func(context.Context) (bool, error) {
		var err error
		left, err = r.staged()
		return len(left) == 0, err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		r.violated("%d sessions are staged that are gone, such as %s", len(left), left[0])
		return nil
	}
	return err
}

// awaitEvents waits until each session has its event, which comes after the
// status that it tells of, and returns how many each has. Events are best
// effort: without one, no promise is broken.
func (r *run) awaitEvents(ctx context.Context) (counts map[string]int, err error) {
	err = wait.PollUntilContextTimeout(ctx, time.Second, settling, true, func(ctx context.Context) (bool, error) {
		var err error
		counts, err = r.events(ctx)
		return len(counts) >= r.sessions, err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		r.say("%d of %d sessions have an event", len(counts), r.sessions)
		return counts, nil
	}
	return counts, err
}

// events counts the events of each session of the load.
func (r *run) events(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	var page eventsv1.EventList
	for {
		if err := r.api.List(ctx, &page, kube.InNamespace(namespace), kube.Limit(1000), kube.Continue(page.Continue)); err != nil {
			return nil, fmt.Errorf("list the events: %w", err)
		}
		for i := range page.Items {
			if name := page.Items[i].Regarding.Name; strings.HasPrefix(name, r.load+"-") {
				counts[name]++
			}
		}
		if page.Continue == "" {
			return counts, nil
		}
	}
}

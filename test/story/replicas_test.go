package story

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/uploader"
)

// Two replicas of one store share a volume. All goes through the first, whichever
// holds the session; the other is killed half way, and the upload goes on when it is back.
func TestReplicas(t *testing.T) {
	const chunks, chunkSize = 48, 128 << 10
	teller, out := beginSmall(t, chunks*chunkSize, chunkSize)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	second, _, err := teller.replica(teller.Binaries, "models-1")
	if err == nil {
		t.Cleanup(func() {
			if err := second.stop(20 * time.Second); err != nil {
				t.Error(err)
			}
		})
		err = uploadToReplicas(ctx, teller, second)
	}
	if err != nil {
		t.Fatalf("%v\n%s\nmanager:\n%s\nfirst dataplane:\n%s\nsecond dataplane:\n%s", err, out, teller.manager.tail(), teller.dataplane.tail(), second.tail())
	}
}

func uploadToReplicas(ctx context.Context, t *teller, second *process) error {
	if err := second.start(ctx); err != nil {
		return err
	}
	if _, err := t.show(ctx, "wait", "--for=jsonpath={.status.replicas[1].name}=models-1", "upst/"+storeName, "--timeout=60s"); err != nil {
		return err
	}
	pinned, err := t.pinToBoth(ctx)
	if err != nil {
		return err
	}
	for replica, session := range pinned {
		if err := t.uploadThrough(ctx, session, replica == "models-1", second); err != nil {
			return fmt.Errorf("session %s of %s: %w", session, replica, err)
		}
	}
	return nil
}

// pinToBoth creates sessions until the operator has given each replica one.
func (t *teller) pinToBoth(ctx context.Context) (map[string]string, error) {
	pinned := map[string]string{}
	for n := 0; len(pinned) < 2; n++ {
		if n == 4 {
			return nil, fmt.Errorf("of %d sessions all are pinned to the same replica: %v", n, pinned)
		}
		spec := fmt.Sprintf(`{"key": "replicas/%d", "sizeBytes": %d, "chunkSizeBytes": %d, "digest": %q, "completion": "Explicit"}`, n, t.size, t.ChunkSize, t.sum)
		made, err := t.create(ctx, fmt.Sprint(n), spec)
		if err != nil {
			return nil, err
		}
		replica, err := t.kubectl(ctx, "get", "upl", made.Name, "-o", "jsonpath={.status.admission.replica}")
		if err != nil {
			return nil, err
		}
		pinned[replica] = made.Name
	}
	return pinned, nil
}

// uploadThrough uploads through the first replica. Half way it kills the second,
// if that holds the session.
func (t *teller) uploadThrough(ctx context.Context, session string, kill bool, second *process) error {
	stored := make(chan int, 1024)
	u := t.uploader(session, func(int, int64) {})
	var acknowledged []int
	if kill {
		var dying sync.Once
		died := errors.New("it was not killed")
		u.Stored = func(index int, _ int64) {
			stored <- index
			if len(stored) >= 24 {
				dying.Do(func() { died = second.kill() })
			}
		}
		_, err := u.Send(ctx)
		if died != nil {
			return errors.Join(died, err)
		}
		close(stored)
		for index := range stored {
			acknowledged = append(acknowledged, index)
		}
		u.Stored = func(int, int64) {}
		if no := (*uploader.Refusal)(nil); err == nil || errors.As(err, &no) && (no.Status != http.StatusServiceUnavailable || no.Code != "replica-away") {
			return fmt.Errorf("while the owner was killed clients got %w", err)
		}
		if _, err := u.Status(ctx); err == nil || !strings.Contains(err.Error(), "replica-away") {
			return fmt.Errorf("while the owner is away clients get %w", err)
		}
		if err := second.start(ctx); err != nil {
			return err
		}
		st, err := statusAgain(ctx, u)
		if err != nil {
			return err
		}
		for _, r := range st.Missing {
			for index := r.First; index <= r.Last; index++ {
				if slices.Contains(acknowledged, index) {
					return fmt.Errorf("chunk %d was acknowledged and is not held", index)
				}
			}
		}
	}
	if _, err := u.Send(ctx); err != nil {
		return err
	}
	st, err := u.Complete(ctx)
	if err != nil {
		return err
	}
	if st.Result == nil || string(st.Result.Digest) != t.sum {
		return fmt.Errorf("the end is %+v", st)
	}
	key, err := t.kubectl(ctx, "get", "upl", session, "-o", "jsonpath={.spec.key}")
	if err != nil {
		return err
	}
	sum, err := sumOf(filepath.Join(t.volume(), key))
	if err == nil && sum != t.sum {
		err = fmt.Errorf("the object has the digest %s", sum)
	}
	return err
}

// statusAgain asks until the owner is found again.
func statusAgain(ctx context.Context, u *uploader.Uploader) (*chunkapi.Status, error) {
	for {
		st, err := u.Status(ctx)
		if no := (*uploader.Refusal)(nil); !errors.As(err, &no) || no.Code != "replica-away" {
			return st, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

package outage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

const (
	// lookupBound is how long a client waits to be told that nobody can be asked.
	lookupBound = 5*time.Second + 5*time.Second
	// longestOutage bounds an outage in a long run.
	longestOutage = 3 * time.Minute
	// afterwards is how long nothing more may be written once all has caught up: more than
	// the pause between two writes of one session's progress.
	afterwards = 6 * time.Second
)

// world is a dataplane whose line to the API server can be cut.
type world struct {
	*rig.Load
	t      *testing.T
	line   *Line
	random *rand.Rand
	// strangers counts the sessions of which nobody has heard before an outage.
	strangers int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	base := rig.NewWorld(t)
	api, err := url.Parse(base.API.Host)
	if err != nil {
		t.Fatal(err)
	}
	if api.Host == "" { // without a scheme
		api = &url.URL{Scheme: "https", Host: base.API.Host}
	}
	line, err := NewLine(api.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	base.API.Host = api.Scheme + "://" + line.Address()
	oracle := rig.NewOracle(rig.Seed(t))
	dataplane := base.Dataplane(t.TempDir())
	t.Cleanup(oracle.Watch(dataplane.Files))
	return &world{
		Load: rig.NewLoad(base, oracle, dataplane), t: t, line: line,
		random: rand.New(rand.NewPCG(oracle.Seed, 1<<33)),
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestAnOutageOfTheAPIServerStopsNoUpload(t *testing.T) {
	for name, outage := range map[string]State{"that refuses": Refuses, "that does not answer": Swallows} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			end := time.Now().Add(rig.Duration(t, time.Millisecond))
			w := newWorld(t)
			w.must(w.Dataplane.Start(t.Context()))
			for round := 0; round == 0 || time.Now().Before(end); round++ {
				w.round(t.Context(), outage)
			}
		})
	}
}

// round is one outage.
func (w *world) round(ctx context.Context, outage State) {
	w.t.Helper()
	w.must(w.TopUp(ctx))
	w.under(ctx, 100*time.Millisecond)
	w.must(w.Check(ctx)) // so that all are known

	w.line.Set(outage)
	time.Sleep(200 * time.Millisecond) // what is under way arrives, or not
	before, err := w.World.StatusWrites(ctx)
	w.must(err)
	shown, err := w.World.Statuses(ctx)
	w.must(err)

	stranger := w.strangerIsPutOff(ctx)
	length := 500 * time.Millisecond
	if rig.Nightly() {
		length += time.Duration(w.random.Int64N(int64(longestOutage)))
	}
	w.under(ctx, length/2)
	w.deleteOne(ctx)
	w.must(w.Dataplane.Kill())
	w.Oracle.Kills.Add(1)
	w.must(w.Dataplane.Start(ctx))
	w.must(w.Check(ctx))
	w.under(ctx, length/2)
	w.must(w.End(ctx))
	w.must(w.Check(ctx))

	w.line.Set(Holds)
	w.must(errors.Join(w.Finish(ctx), stranger.Finish(ctx)))
	w.wroteOnce(ctx, before, shown)
	for _, s := range stranger.Oracle.Sessions() {
		w.must(stranger.Delete(ctx, s))
	}
	w.must(w.Clear(ctx))
}

// under lets the load run for a while.
func (w *world) under(ctx context.Context, length time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	w.Run(ctx)
	w.must(w.Oracle.Err())
}

// strangerIsPutOff creates a session that the dataplane can't have heard of:
// its client is told to try again, and not that there is no such session.
func (w *world) strangerIsPutOff(ctx context.Context) *rig.Load {
	w.t.Helper()
	w.strangers++
	l := rig.NewLoad(w.World, rig.NewOracle(w.Oracle.Seed+uint64(w.strangers)), w.Dataplane)
	name := fmt.Sprintf("stranger%d", w.strangers)
	s := &rig.Session{Name: name, Key: "strangers/" + name, Size: 1000, ChunkSize: 400}
	l.Oracle.Add(s)
	w.must(l.Admit(ctx, s))
	began := time.Now()
	reply := w.Dataplane.Put(ctx, s, 0, s.Content(0, 0), true)
	if reply.Status != http.StatusServiceUnavailable || reply.Code != chunkapi.CodeUnavailable || reply.Header.Get("Retry-After") == "" {
		w.t.Errorf("the client of a session that is not known here got %s", reply)
	}
	if took := time.Since(began); took > lookupBound {
		w.t.Errorf("it took %s to say so", took)
	}
	return l
}

// deleteOne deletes a session that is not known to have ended, of which the
// dataplane can't hear.
func (w *world) deleteOne(ctx context.Context) {
	w.t.Helper()
	for _, s := range w.Oracle.Sessions() {
		if s.End() == "" {
			w.must(w.Delete(ctx, s))
			return
		}
	}
}

// wroteOnce checks that what had to be told of each session when the API server
// was back took one write, and that none came after.
func (w *world) wroteOnce(ctx context.Context, before map[string]int, shown map[string]v1alpha1.UploadSessionStatus) {
	w.t.Helper()
	time.Sleep(afterwards)
	after, err := w.World.StatusWrites(ctx)
	w.must(err)
	for _, s := range w.Oracle.Sessions() {
		least, most := 0, 1
		if shown[s.Name].Result.Outcome != "" {
			most = 0
		} else if s.End() != "" {
			least = 1
		}
		if n := after[s.Name] - before[s.Name]; n < least || n > most {
			w.Oracle.Violate(s, "its status was written %d times after the outage, %d to %d are due", n, least, most)
		}
	}
	w.must(w.Oracle.Err())
}

package story

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/uploader"
)

// Options say how the story is told.
type Options struct {
	// Root is the repository; Binaries the folder with the manager and the dataplane.
	Root, Binaries string
	// Successor is the dataplane that takes over from the one that was killed; empty is the same.
	Successor string
	// Earlier is the repository of a version that was installed before; empty for none. What config/dataplane of it made
	// stays, as it does where nobody removes it.
	Earlier string
	// Audience is given to all dataplanes, and is that of the uploader's token; empty is what a dataplane takes by itself.
	Audience string
	// File is what is uploaded; empty is the kube-apiserver binary of the control plane.
	File string
	// ChunkSize of the session in bytes; 0 is 4 MiB.
	ChunkSize int64
	// Out is told what happens.
	Out io.Writer
	// Terminal is whether Out shows a line that is written over.
	Terminal bool
}

// sessionName is the session that the story is about.
const sessionName = "big-file"

// defaultChunkSize is the chunk size of the story's sessions in bytes.
const defaultChunkSize = 4 << 20

// teller tells the story.
type teller struct {
	Options
	*stack
	file *os.File
	size int64
	sum  string // of the file, "sha256:" and hex
}

// Tell tells the whole story and returns nil if everything was as it should
// be. Every process is ended and every file removed when it returns.
func Tell(ctx context.Context, o Options) (err error) {
	t, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.end()) }()
	for _, chapter := range []func(context.Context) error{
		t.apply, t.uploadAndCrash, t.resume, t.published, t.refusals,
	} {
		if err := chapter(ctx); err != nil {
			return fmt.Errorf("%w\n\nthe dataplane's log:\n%s\nthe manager's log:\n%s", err, t.dataplane.tail(), t.manager.tail())
		}
	}
	return nil
}

// Run brings up the same processes, applies the samples, prints what to play
// with and leaves all running until the context is done.
func Run(ctx context.Context, o Options) (err error) {
	t, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.end()) }()
	if err := t.apply(ctx); err != nil {
		return err
	}
	t.playground()
	<-ctx.Done()
	t.say("Stopping")
	return nil
}

func begin(ctx context.Context, o Options) (_ *teller, err error) {
	if o.ChunkSize == 0 {
		o.ChunkSize = defaultChunkSize
	}
	t := &teller{Options: o}
	if t.stack, err = startStack(ctx, o, t.say); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.end())
		}
	}()
	if t.File == "" {
		t.File = filepath.Join(t.plane.Assets, "kube-apiserver")
	}
	if t.file, err = os.Open(t.File); err != nil {
		return nil, err
	}
	sum := sha256.New()
	if t.size, err = io.Copy(sum, t.file); err != nil {
		return nil, err
	}
	t.sum = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return t, nil
}

func (t *teller) end() error {
	if t.file != nil {
		_ = t.file.Close() // it was only read
	}
	return t.stop()
}

// say prints a headline.
func (t *teller) say(format string, args ...any) {
	fmt.Fprintf(t.Out, "\n==> "+format+"\n", args...)
}

// show runs kubectl in the open.
func (t *teller) show(ctx context.Context, args ...string) (string, error) {
	fmt.Fprintf(t.Out, "$ kubectl %s\n", strings.Join(args, " "))
	out, err := t.kubectl(ctx, args...)
	fmt.Fprint(t.Out, out)
	return out, err
}

// apply creates samples as they are, and a session for the real file. The
// store is the one whose dataplane somebody else starts: no Pod runs here.
func (t *teller) apply(ctx context.Context) error {
	t.say("Applying samples: a store, a quota, and a first session that nobody uploads")
	samples := filepath.Join(t.Root, "config", "samples")
	if _, err := t.show(ctx, "apply",
		"--filename", filepath.Join(samples, "sidecar", "store.yaml"),
		"--filename", filepath.Join(samples, "uploads_v1alpha1_uploadquota.yaml"),
		"--filename", filepath.Join(samples, "uploads_v1alpha1_uploadsession.yaml")); err != nil {
		return err
	}
	if _, err := t.show(ctx, "wait", "--for=condition=Ready", "upst/"+storeName, "--timeout=30s"); err != nil {
		return err
	}
	t.say("A session for %s, %.1f MB, in chunks of %.1f MB", t.base(), megabytes(t.size), megabytes(t.ChunkSize))
	if err := t.applySession(ctx, sessionName, "bin/"+t.base(), t.sum, t.size); err != nil {
		return err
	}
	// Not for AcceptingChunks: the operator of the version before has another name for it.
	_, err := t.show(ctx, "wait", "--for=condition=Admitted", "upl/"+sessionName, "--timeout=30s")
	return err
}

// applySession applies a session as a user would write it.
func (t *teller) applySession(ctx context.Context, name, key, digest string, size int64, more ...string) error {
	manifest := fmt.Sprintf(`apiVersion: uploads.slipway.dev/v1alpha1
kind: UploadSession
metadata:
  name: %s
spec:
  storeRef: {name: %s}
  key: %s
  sizeBytes: %d
  chunkSizeBytes: %d
  digest: %s
`, name, storeName, key, size, t.ChunkSize, digest)
	for _, line := range more {
		manifest += "  " + line + "\n"
	}
	file := filepath.Join(t.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return err
	}
	fmt.Fprint(t.Out, manifest)
	_, err := t.show(ctx, "apply", "--filename", file)
	return err
}

func (t *teller) uploader(session string, stored func(int, int64)) *uploader.Uploader {
	return &uploader.Uploader{
		Caller:  t.caller,
		Base:    fmt.Sprintf("%s/v1/namespaces/%s/uploadsessions/%s", t.endpoint, namespace, session),
		Content: t.file, Stored: stored,
	}
}

// uploadAndCrash uploads until half of the file is acknowledged, kills the
// dataplane with what is in flight, starts it again, and checks that it holds
// everything that it acknowledged.
func (t *teller) uploadAndCrash(ctx context.Context) error {
	t.say("Uploading, %d chunks at a time in random order, until half is there", uploader.Parallel)
	var (
		mu           sync.Mutex
		acknowledged = map[int]bool{}
		bytes        int64
		killed       bool
		killing      error
	)
	bar := newProgress(t.Out, t.Terminal, t.size, 0)
	u := t.uploader(sessionName, func(index int, n int64) {
		mu.Lock()
		defer mu.Unlock()
		acknowledged[index] = true
		bytes += n
		bar.add(n)
		if bytes*2 >= t.size && !killed {
			killed, killing = true, t.dataplane.kill()
		}
	})
	_, err := u.Send(ctx)
	bar.end()
	if killing != nil || !killed {
		return fmt.Errorf("the dataplane was not killed half way: %w", errors.Join(err, killing))
	}
	t.say("Killed the dataplane with SIGKILL at %d acknowledged chunks; starting it again", len(acknowledged))
	if t.Successor != "" {
		t.dataplane.binary = t.Successor
	}
	if err := t.dataplane.start(ctx); err != nil {
		return err
	}
	st, err := u.Status(ctx)
	if err != nil {
		return err
	}
	for _, r := range st.Missing {
		for index := r.First; index <= r.Last; index++ {
			if acknowledged[index] {
				return fmt.Errorf("chunk %d was acknowledged and is not held", index)
			}
		}
	}
	fmt.Fprintf(t.Out, "It holds %d of %d chunks, every acknowledged one among them\n", st.ReceivedChunks, st.TotalChunks)
	return nil
}

// resume sends what is missing and nothing else.
func (t *teller) resume(ctx context.Context) error {
	u := t.uploader(sessionName, nil)
	before, err := u.Status(ctx)
	if err != nil {
		return err
	}
	t.say("Sending the %d chunks that are missing, and no other", before.MissingChunks)
	bar := newProgress(t.Out, t.Terminal, t.size, before.ReceivedBytes)
	u.Stored = func(_ int, n int64) { bar.add(n) }
	sent, err := u.Send(ctx)
	bar.end()
	if err != nil {
		return err
	}
	if sent != before.MissingChunks {
		return fmt.Errorf("%d chunks were sent, %d were missing", sent, before.MissingChunks)
	}
	st, err := u.Complete(ctx)
	if err != nil {
		return err
	}
	if st.State != chunkapi.StatePublished || st.Result == nil || string(st.Result.Digest) != t.sum {
		return fmt.Errorf("the dataplane says %+v, want Published with %s", st, t.sum)
	}
	return nil
}

// published looks at the result as a user sees it, and at the volume.
func (t *teller) published(ctx context.Context) error {
	t.say("The session as Kubernetes shows it")
	if _, err := t.show(ctx, "wait", "--for=condition=Succeeded", "upl/"+sessionName, "--timeout=30s"); err != nil {
		return err
	}
	if _, err := t.show(ctx, "get", "upl"); err != nil {
		return err
	}
	if err := t.showEvents(ctx); err != nil {
		return err
	}
	t.say("The file, and the object on the volume")
	object := filepath.Join(t.volume(), "bin", t.base())
	sum, err := sumOf(object)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.Out, "%s  %s\n%s  %s\n", t.sum, t.File, sum, object)
	if sum != t.sum {
		return errors.New("the object is not the file")
	}
	return nil
}

// showEvents shows the session's events, once they are there: they follow the
// condition they tell of.
func (t *teller) showEvents(ctx context.Context) error {
	args := []string{"events", "--for=uploadsession/" + sessionName}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		out, err := t.kubectl(ctx, args...)
		if err != nil {
			return err
		}
		if strings.Contains(out, "Published") {
			_, err = t.show(ctx, args...)
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("there is no event that says Published")
}

func sumOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), err
}

// playground prints what to do with what runs.
func (t *teller) playground() {
	base := fmt.Sprintf("%s/v1/namespaces/%s/uploadsessions", t.endpoint, namespace)
	t.say("Everything runs; Ctrl-C ends it. In another terminal:")
	fmt.Fprintf(t.Out, `
  export KUBECONFIG=%s PATH=%s:$PATH
  kubectl get upl,upst -o wide

  # A session of your own, for any FILE; it is its single chunk:
  kubectl apply -f - <<YAML
  apiVersion: uploads.slipway.dev/v1alpha1
  kind: UploadSession
  metadata: {name: mine}
  spec: {storeRef: {name: %s}, key: mine/file, sizeBytes: $(stat -c %%s FILE), chunkSizeBytes: 67108864}
  YAML
  send="curl --cacert %s --oauth2-bearer $(kubectl create token %s --audience=%s)"
  $send -T FILE %s/mine/chunks/0
  $send %s/mine
  kubectl describe upl mine

  Volume: %s
  Logs:   %s, %s
`, t.kubeconfig(), t.plane.Assets, storeName, t.caFile(), uploaderName, t.audience, base, base, t.volume(), t.manager.logFile, t.dataplane.logFile)
}

// base is the name of the file.
func (t *teller) base() string { return filepath.Base(t.File) }

func megabytes(n int64) float64 { return float64(n) / 1e6 }

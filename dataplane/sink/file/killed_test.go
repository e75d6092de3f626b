package file_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

// killedVolume is the variable by which a process of this program is told to be the other replica.
const killedVolume = "SLIPWAY_KILLED_REPLICA_VOLUME"

// keys are what both replicas publish under, again and again.
var contendedKeys = []string{"replaced", "deep/replaced"}

// publishOne makes one session and publishes it under a key that both replicas replace, and one that is given once.
func publishOne(sink *file.Sink, n int, content byte) error {
	id := session.ID(fmt.Sprintf("s-%d", n))
	if err := sink.Create(background, record(id, 100)); err != nil {
		return err
	}
	s, err := sink.Open(background, id)
	if err != nil {
		return err
	}
	_, err = s.WriteAt(slices.Repeat([]byte{content}, 100), 0)
	for index := range 2 {
		err = errors.Join(err, s.Commit(background, index, int64(50*index), session.Slot{Length: 50}))
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	for _, key := range contendedKeys {
		if err := sink.Publish(background, id, key, true, nil); err != nil {
			return err
		}
	}
	if err := sink.Publish(background, id, onceKey(n), false, nil); err != nil && !errors.Is(err, session.ErrExists) {
		return err
	}
	return errors.Join(sink.Free(background, id), sink.Remove(background, id))
}

func onceKey(n int) string { return fmt.Sprintf("once/%d", n) }

// TestTheReplicaThatIsKilled is the other process of the test below, and nothing by itself.
func TestTheReplicaThatIsKilled(t *testing.T) {
	dir := os.Getenv(killedVolume)
	if dir == "" {
		t.Skip("nobody is to be killed")
	}
	sink := mustOpenAs(t, dir, other)
	for n := range 1 << 20 {
		must(t, publishOne(sink, n, 'b'))
		fmt.Println("published", n)
	}
}

// TestOneOfTwoReplicasIsKilled while both publish the same keys: objects are whole, the one that is alive
// goes on, and sweeps what the other left.
func TestOneOfTwoReplicasIsKilled(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpenAs(t, dir, own)
	mine := 0
	for round := range 5 {
		command := exec.Command(os.Args[0], "-test.run=^TestTheReplicaThatIsKilled$")
		command.Env = append(os.Environ(), killedVolume+"="+dir)
		command.Stderr = os.Stderr
		out, err := command.StdoutPipe()
		must(t, err)
		must(t, command.Start())
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatal("the other replica does not publish")
		}
		for range 20 + 7*round {
			must(t, publishOne(sink, mine, 'a'))
			mine++
			wantsWhole(t, dir, mine)
		}
		must(t, command.Process.Kill())
		_ = command.Wait() // it was killed
		must(t, publishOne(sink, mine, 'a'))
		mine++
		wantsWhole(t, dir, mine)
		swept := &gone{}
		for n := range 1 << 10 {
			swept.ids = append(swept.ids, session.ID(fmt.Sprintf("s-%d", n)))
		}
		must(t, sink.SweepDerelicts(background, swept.orphan))
		if left := below(t, filepath.Join(dir, ".slipway", other.Replica+".replica")); !slices.Equal(left, []string{".lock", ".sweep"}) {
			t.Errorf("left: %v", left)
		}
	}
	if found, failed := recovered(t, sink); len(found) > 0 || len(failed) > 0 {
		t.Errorf("recovered %v, failed %v", found, failed)
	}
}

// wantsWhole looks at everything that is published.
func wantsWhole(t *testing.T, dir string, upTo int) {
	t.Helper()
	keys := slices.Clone(contendedKeys)
	for n := max(0, upTo-5); n < upTo; n++ {
		keys = append(keys, onceKey(n))
	}
	for _, key := range keys {
		b, err := os.ReadFile(filepath.Join(dir, key))
		if errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s is gone", key)
		}
		must(t, err)
		if len(b) != 100 || len(slices.Compact(b)) != 1 {
			t.Fatalf("%s has %d bytes: %q", key, len(b), b)
		}
	}
}

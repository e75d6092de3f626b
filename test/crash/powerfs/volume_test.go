package powerfs

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a volume with words for what a program does to it. Files hold one page
// of one letter, so that what survives of them can be told in a word.
type disk struct {
	*volume
	t *testing.T
}

func (d disk) find(path string) *inode {
	n := d.root()
	for element := range strings.SplitSeq(path, "/") {
		if n = n.names[element]; n == nil {
			d.t.Fatalf("no %s", path)
		}
	}
	return n
}

func (d disk) in(path string) (*inode, string) {
	if above, name, ok := strings.Cut(path, "/"); ok {
		return d.find(above), name
	}
	return d.root(), path
}

func (d disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d disk) create(path string) {
	in, name := d.in(path)
	_, err := d.make(in, name, unix.S_IFREG|0o600, time.Now())
	d.must(err)
}

func (d disk) mkdir(path string) {
	in, name := d.in(path)
	_, err := d.make(in, name, unix.S_IFDIR|0o700, time.Now())
	d.must(err)
}

func (d disk) write(path, letter string) {
	d.find(path).content.write(0, []byte(strings.Repeat(letter, pageSize)))
}
func (d disk) truncate(path string, size int64) { d.find(path).content.resize(size) }
func (d disk) fsync(path string)                { d.find(path).sync() }
func (d disk) fdatasync(path string)            { d.find(path).syncBytes() }
func (d disk) failFsync(path string)            { d.find(path).failSync(unix.EIO) }
func (d disk) syncRoot()                        { d.syncNames(d.root()) }
func (d disk) syncDir(path string)              { d.syncNames(d.find(path)) }

func (d disk) move(old, name string) {
	from, oldName := d.in(old)
	to, newName := d.in(name)
	d.must(d.rename(from, oldName, to, newName, true, time.Now()))
}

func (d disk) linkTo(old, name string) {
	in, newName := d.in(name)
	d.must(d.link(d.find(old), in, newName, time.Now()))
}

func (d disk) remove(path string) {
	in, name := d.in(path)
	d.must(d.unlink(in, name, time.Now()))
}

// whole makes a file that nothing can take any more.
func (d disk) whole(path, letter string) {
	d.create(path)
	d.write(path, letter)
	d.syncAll()
}

// sight says what is on a volume: each file with the letters that are in it, 0
// for zeros, - for none.
func sight(n *inode, path string) []string {
	var seen []string
	for _, name := range sorted(n.names) {
		below := n.names[name]
		if below.isDir {
			seen = append(append(seen, path+name+"/"), sight(below, path+name+"/")...)
			continue
		}
		b := make([]byte, below.content.size)
		below.content.read(0, b)
		var has [256]bool
		for _, letter := range b {
			has[letter] = true
		}
		what := ""
		for letter, is := range has {
			if is {
				what += string(max(rune(letter), '0'))
			}
		}
		if len(b) == 0 {
			what = "-"
		}
		seen = append(seen, path+name+"="+what)
	}
	return seen
}

func TestWhatSurvives(t *testing.T) {
	for _, test := range []struct {
		why     string
		order   Order
		do      func(d disk)
		survive []string // each of these is seen after some cut, and nothing else
	}{
		{
			"nothing is sure of a file that nobody synced: its name, its size and each byte may be gone", PerDirectory,
			func(d disk) { d.create("f"); d.write("f", "a") },
			[]string{"", "f=-", "f=0", "f=0a", "f=a"},
		},
		{
			"a synced file whose name is not synced is whole or not there", PerDirectory,
			func(d disk) { d.create("f"); d.write("f", "a"); d.fsync("f") },
			[]string{"", "f=a"},
		},
		{
			"a synced name of a file that is not synced is there, with anything in it", PerDirectory,
			func(d disk) { d.create("f"); d.write("f", "a"); d.syncRoot() },
			[]string{"f=-", "f=0", "f=0a", "f=a"},
		},
		{
			"both synced: it is there", PerDirectory,
			func(d disk) { d.create("f"); d.write("f", "a"); d.fsync("f"); d.syncRoot() },
			[]string{"f=a"},
		},
		{
			"fdatasync covers the size that is needed to read", PerDirectory,
			func(d disk) { d.create("f"); d.syncRoot(); d.write("f", "a"); d.fdatasync("f") },
			[]string{"f=a"},
		},
		{
			"room that was reserved and not written holds zeros", PerDirectory,
			func(d disk) { d.create("f"); d.syncRoot(); d.truncate("f", pageSize); d.fsync("f") },
			[]string{"f=0"},
		},
		{
			"an overwrite that was not synced leaves the old, the new or both in parts", PerDirectory,
			func(d disk) { d.whole("f", "a"); d.write("f", "b") },
			[]string{"f=a", "f=b", "f=ab"},
		},
		{
			"of several overwrites any may have reached the disk", PerDirectory,
			func(d disk) { d.whole("f", "a"); d.write("f", "b"); d.write("f", "c") },
			[]string{"f=a", "f=b", "f=c", "f=ab", "f=ac", "f=bc"},
		},
		{
			"a file that was cut short and not synced may have its bytes back", PerDirectory,
			func(d disk) { d.whole("f", "a"); d.truncate("f", 0) },
			[]string{"f=-", "f=a", "f=0", "f=0a"},
		},
		{
			"replacing by rename without a sync of the directory: the old or the new, each whole", PerDirectory,
			func(d disk) { d.whole("f", "a"); d.whole("g", "b"); d.move("g", "f") },
			[]string{"f=a g=b", "f=b"},
		},
		{
			"replacing by rename with the sync forgotten that comes before: anything may be under the name", PerDirectory,
			func(d disk) { d.whole("f", "a"); d.create("g"); d.write("g", "b"); d.move("g", "f"); d.syncRoot() },
			[]string{"f=-", "f=0", "f=0b", "f=b"},
		},
		{
			"a rename between directories is seen in both or in none, whichever is synced", PerDirectory,
			func(d disk) { d.mkdir("d"); d.whole("f", "a"); d.move("f", "d/f"); d.syncDir("d") },
			[]string{"d/ d/f=a"},
		},
		{
			"nothing synced: the rename between directories is seen in both or in none", PerDirectory,
			func(d disk) { d.mkdir("d"); d.whole("f", "a"); d.move("f", "d/f") },
			[]string{"d/ d/f=a", "d/ f=a"},
		},
		{
			"changes of one directory survive in their order", PerDirectory,
			func(d disk) { d.create("f"); d.create("g") },
			[]string{"", "f=-", "f=- g=-"},
		},
		{
			"changes of two directories survive in any order", PerDirectory,
			func(d disk) { d.mkdir("d"); d.mkdir("e"); d.syncAll(); d.create("d/f"); d.create("e/g") },
			[]string{"d/ e/", "d/ d/f=- e/", "d/ e/ e/g=-", "d/ d/f=- e/ e/g=-"},
		},
		{
			"but not with a journal", Journal,
			func(d disk) { d.mkdir("d"); d.mkdir("e"); d.syncAll(); d.create("d/f"); d.create("e/g") },
			[]string{"d/ e/", "d/ d/f=- e/", "d/ d/f=- e/ e/g=-"},
		},
		{
			"with a journal the sync of one directory is a sync of all", Journal,
			func(d disk) { d.mkdir("d"); d.create("f"); d.syncDir("d") },
			[]string{"d/ f=-"},
		},
		{
			"a synced directory whose own name is not synced is gone with all that is in it", PerDirectory,
			func(d disk) { d.mkdir("d"); d.whole("f", "a"); d.mkdir("e"); d.create("e/f"); d.syncDir("e") },
			[]string{"d/ f=a", "d/ e/ e/f=- f=a"},
		},
		{
			"what was in a directory before it was renamed is not sure because its name is", PerDirectory,
			func(d disk) { d.mkdir("d"); d.create("d/f"); d.move("d", "e"); d.syncRoot() },
			[]string{"e/", "e/ e/f=-"},
		},
		{
			"a link that is synced keeps the bytes whatever becomes of the first name", PerDirectory,
			func(d disk) { d.mkdir("d"); d.whole("f", "a"); d.linkTo("f", "d/g"); d.syncDir("d"); d.remove("f") },
			[]string{"d/ d/g=a", "d/ d/g=a f=a"},
		},
		{
			"a removal that is not synced may be undone", PerDirectory,
			func(d disk) { d.whole("f", "a"); d.remove("f") },
			[]string{"", "f=a"},
		},
		{
			"after a sync that failed the next one has nothing to do, and makes nothing sure", PerDirectory,
			func(d disk) { d.whole("f", "a"); d.write("f", "b"); d.failFsync("f"); d.fsync("f") },
			[]string{"f=a", "f=b", "f=ab"},
		},
		{
			"but what is written again is sure", PerDirectory,
			func(d disk) { d.whole("f", "a"); d.write("f", "b"); d.failFsync("f"); d.write("f", "b"); d.fsync("f") },
			[]string{"f=b"},
		},
		{
			"a name whose sync failed is not made sure by the next sync", PerDirectory,
			func(d disk) { d.create("f"); d.failSyncNames(d.root(), unix.EIO); d.create("g"); d.syncRoot() },
			[]string{"g=-"},
		},
		{
			"a syncfs that failed is not made good by a sync of each file and directory", PerDirectory,
			func(d disk) {
				d.whole("f", "a")
				d.write("f", "b")
				d.create("g")
				d.failAll(unix.EIO)
				d.fsync("f")
				d.syncRoot()
			},
			[]string{"f=a", "f=ab", "f=b"},
		},
		{
			"syncfs makes all sure", PerDirectory,
			func(d disk) { d.mkdir("d"); d.create("d/f"); d.write("d/f", "a"); d.syncAll() },
			[]string{"d/ d/f=a"},
		},
	} {
		t.Run(test.why, func(t *testing.T) {
			seen := map[string]bool{}
			slices.Sort(test.survive)
			const atLeast, atMost = 60, 1000
			for seed := range uint64(atMost) {
				if seed > atLeast && len(seen) >= len(test.survive) {
					break
				}
				d := disk{newVolume(test.order), t}
				test.do(d)
				before := sight(d.root(), "")
				left := d.cut(rand.New(rand.NewPCG(seed, 0)))
				seen[strings.Join(sight(left.root(), ""), " ")] = true
				if after := sight(d.root(), ""); !slices.Equal(before, after) {
					t.Fatalf("the cut changed what was seen before it from %q to %q", before, after)
				}
				again := left.cut(rand.New(rand.NewPCG(seed, 1)))
				if !slices.Equal(sight(left.root(), ""), sight(again.root(), "")) {
					t.Fatal("what survived one cut did not survive the next")
				}
			}
			if got := sorted(seen); !slices.Equal(got, test.survive) {
				t.Errorf("got  %q\nwant %q", got, test.survive)
			}
		})
	}
}

func TestAttributesSurviveFsyncAlone(t *testing.T) {
	for _, test := range []struct {
		why    string
		sync   func(d disk)
		always bool
	}{
		{"no sync", func(disk) {}, false},
		{"fdatasync", func(d disk) { d.fdatasync("f") }, false},
		{"fsync", func(d disk) { d.fsync("f") }, true},
		{"fsync after one that failed", func(d disk) { d.failFsync("f"); d.fsync("f") }, false},
	} {
		t.Run(test.why, func(t *testing.T) {
			kept := 0
			const cuts = 100
			for seed := range uint64(cuts) {
				d := disk{newVolume(PerDirectory), t}
				d.whole("f", "a")
				value := "v"
				d.find("f").setExtended("user.k", &value)
				test.sync(d)
				left := d.cut(rand.New(rand.NewPCG(seed, 0)))
				if left.root().names["f"].attributes.extended["user.k"] == "v" {
					kept++
				}
			}
			if kept == 0 || test.always != (kept == cuts) {
				t.Errorf("kept after %d of %d cuts", kept, cuts)
			}
		})
	}
}

// What the system reads is what it wrote, whatever the model keeps besides.
func TestContentAgainstBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c, want := newContent(), []byte{}
	for step := range 3000 {
		switch random.IntN(6) {
		case 0:
			size := random.IntN(5 * pageSize)
			c.resize(int64(size))
			want = append(want[:min(size, len(want))], make([]byte, max(0, size-len(want)))...)
		case 1:
			c.sync()
		default:
			at, b := random.IntN(4*pageSize), bytes.Repeat([]byte{byte(step)}, random.IntN(2*pageSize))
			c.write(int64(at), b)
			if len(b) > 0 {
				want = append(want, make([]byte, max(0, at+len(b)-len(want)))...)
				copy(want[at:], b)
			}
		}
		got := make([]byte, 6*pageSize)
		got = got[:c.read(0, got)]
		if !bytes.Equal(got, want) {
			t.Fatalf("step %d: %d bytes differ from the %d expected", step, len(got), len(want))
		}
	}
}

func TestFaults(t *testing.T) {
	var f faults
	i := f.add(Fault{Op: Write, Path: ".slipway/*/data", After: 1, Times: 2, Errno: unix.EIO, Delay: time.Second})
	for _, call := range []struct {
		op    Op
		where string
		hit   bool
	}{
		{Write, ".slipway/a/data", false},
		{Read, ".slipway/a/data", false},
		{Write, ".slipway/a/ledger", false},
		{Write, ".slipway/a/data", true},
		{Write, ".slipway/b/data", true},
		{Write, ".slipway/a/data", false},
	} {
		e := f.of(call.op, call.where)
		if call.hit != (e.failure == unix.EIO) || call.hit != (e.delay == time.Second) {
			t.Errorf("%s %s: %+v", call.op, call.where, e)
		}
	}
	if i.Hits() != 2 {
		t.Errorf("%d hits", i.Hits())
	}
	if got := i.fault.String(); got != `write ".slipway/*/data": EIO after 1s, 2 times` {
		t.Error(got)
	}
}

package file_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/sinktest"
)

// listAll lists part after part, and returns what is listed, and in how many parts.
func listAll(
	t *testing.T, q session.ListQuery, list func(session.ListQuery) (session.Listing, error),
) (all []string, parts int) {
	t.Helper()
	for {
		listing, err := list(q)
		must(t, err)
		part := slices.Clone(listing.Prefixes)
		for _, one := range listing.Objects {
			part = append(part, one.Name)
		}
		slices.Sort(part)
		all, parts = append(all, part...), parts+1
		if listing.Next == "" {
			return all, parts
		}
		if listing.Next <= q.From {
			t.Fatalf("%+v leads back to %q", q, listing.Next)
		}
		q.From = listing.Next
	}
}

// Nothing but what opens as an object is listed, whoever put it there.
func TestWhatIsNoObjectIsNotListed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("s", 100)))
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	in := func(elements ...string) string { return filepath.Join(append([]string{dir}, elements...)...) }
	long := strings.Repeat("x", 200)
	for _, d := range []string{
		in("d", "e"), in("empty", "below"), in(".SLIPWAY"), in("bad\\"), in("lost+found"), in(long, long, long, long, long),
	} {
		must(t, os.MkdirAll(d, 0o700))
	}
	for _, f := range []string{in("d", "e", "f"), in("plain"), in("d", ".slipway")} {
		must(t, os.WriteFile(f, []byte("plain"), 0o600))
	}
	for _, f := range []string{
		in("\xff"), in("a\nb"), in("bad\\", "x"), in(".SLIPWAY", "x"), in("lost+found", "x"),
		in(long, long, long, long, long, long), // longer than a name
	} {
		must(t, os.WriteFile(f, nil, 0o600))
	}
	must(t, os.Chmod(in("lost+found"), 0))
	t.Cleanup(func() { _ = os.Chmod(in("lost+found"), 0o700) })
	must(t, os.Symlink(filepath.Join(outside, "secret"), in("link")))
	must(t, os.Symlink("plain", in("within")))
	must(t, os.Symlink(outside, in("linked")))
	must(t, os.Symlink("d", in("d2")))
	must(t, unix.Mkfifo(in("pipe"), 0o600))
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", in("s"))
	must(t, err)
	defer func() { _ = socket.Close() }()

	list := func(q session.ListQuery) (session.Listing, error) { return sink.List(background, q) }
	want := []string{"d/.slipway", "d/e/f", "lost+found/x", "plain"}
	grouped := []string{"d/", "lost+found/", "plain"}
	if os.Geteuid() != 0 {
		want, grouped = slices.Delete(want, 2, 3), slices.Delete(grouped, 1, 2)
	}
	if got, _ := listAll(t, session.ListQuery{Limit: 100}, list); !slices.Equal(got, want) {
		t.Errorf("listed is %q, want %q", got, want)
	}
	if got, _ := listAll(t, session.ListQuery{Limit: 1, Grouped: true}, list); !slices.Equal(got, grouped) {
		t.Errorf("grouped it is %q, want %q", got, grouped)
	}
	for _, prefix := range []string{"linked/", "link", "d2/", "empty/", "plain/", ".slipway", "pipe"} {
		if got, _ := listAll(t, session.ListQuery{Prefix: prefix, Limit: 100}, list); len(got) > 0 {
			t.Errorf("below %s listed is %q", prefix, got)
		}
	}
	listing, err := sink.List(background, session.ListQuery{Prefix: "plain", Limit: 1})
	if err != nil || len(listing.Objects) != 1 || listing.Objects[0].Published || listing.Objects[0].Size != 5 {
		t.Errorf("what nobody published is listed as %+v, %v", listing, err)
	}
}

// However little a part may cost, the parts together have everything once.
func TestListingsWithinTheirBounds(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test
	var names []string
	letter := func() rune { return rune('a' + random.IntN(3)) }
	for range 400 {
		end := []string{"-", ".", "", "0"}[random.IntN(4)]
		name := fmt.Sprintf("%c/%c%s/%d", letter(), letter(), end, random.IntN(1000))
		for range random.IntN(3) {
			name = path.Dir(name)
		}
		at := filepath.Join(dir, name)
		if os.MkdirAll(filepath.Dir(at), 0o755) == nil && os.WriteFile(at, nil, 0o600) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	const many = 1 << 20
	for _, bounds := range [][3]int{{1, 1, 1}, {1, many, many}, {many, 3, many}, {many, many, 1}, {100, 50, 500}} {
		for _, q := range []session.ListQuery{
			{Limit: 1000},
			{Limit: 7},
			{Limit: 1000, Grouped: true},
			{Limit: 2, Grouped: true, Prefix: "a/"},
			{Limit: 9, Prefix: "b/c"},
		} {
			got, parts := listAll(t, q, func(q session.ListQuery) (session.Listing, error) {
				return sink.ListWithin(background, q, bounds[0], bounds[1], bounds[2])
			})
			if want := sinktest.Reference(names, q.Prefix, q.Grouped); !slices.Equal(got, want) {
				t.Errorf("%+v within %v lists\n%q, want\n%q", q, bounds, got, want)
			}
			if q.Limit == 1000 && !q.Grouped && bounds[1] == 1 && parts < len(names) {
				t.Errorf("%+v within %v took %d parts for %d names", q, bounds, parts, len(names))
			}
		}
	}
}

// A listing is no longer than MaxListBytes, whatever its limit.
func TestListingsOfLongNames(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	deep := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 200)+"/", 4), "/")
	must(t, os.MkdirAll(filepath.Join(dir, deep), 0o755))
	var names []string
	for i := range 600 {
		names = append(names, fmt.Sprintf("%s/%04d", deep, i))
		must(t, os.WriteFile(filepath.Join(dir, names[i]), nil, 0o600))
	}
	got, parts := listAll(t, session.ListQuery{Limit: 1000}, func(q session.ListQuery) (session.Listing, error) {
		return sink.List(background, q)
	})
	if most := session.MaxListBytes / len(names[0]); !slices.Equal(got, names) || parts != (len(names)+most-1)/most {
		t.Errorf("%d of %d names came in %d parts", len(got), len(names), parts)
	}
}

// afterSome is a context that ends when it was asked often enough.
type afterSome struct {
	context.Context
	left int
}

// Err counts.
func (c *afterSome) Err() error {
	c.left--
	if c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestAListingEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	for i := range 20 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600))
	}
	for left := range 20 {
		_, err := sink.List(&afterSome{background, left}, session.ListQuery{Limit: 1000})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after %d looks: %v", left, err)
		}
	}
}

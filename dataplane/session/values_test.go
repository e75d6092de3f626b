package session_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

func TestParseID(t *testing.T) {
	for _, test := range []struct {
		id    string
		valid bool
	}{
		{"a", true},
		{"0", true},
		{"0f8fad5b-d9cb-469f-a165-70867728950e", true},
		{"ends-with-", true},
		{strings.Repeat("a", 64), true},

		{"", false},
		{"-begins", false},
		{strings.Repeat("a", 65), false},
		{"Upper", false},
		{"dot.dot", false},
		{"..", false},
		{"a/b", false},
		{"a b", false},
		{"a_b", false},
		{"ä", false},
		{"a\x00", false},
		{"a\n", false},
	} {
		id, err := session.ParseID(test.id)
		if test.valid {
			if err != nil || string(id) != test.id {
				t.Errorf("%q: want it as it is, got %q, %v", test.id, id, err)
			}
			continue
		}
		expect(t, test.id, err, session.ErrInvalid)
		if id != "" {
			t.Errorf("%q: want no ID beside the error, got %q", test.id, id)
		}
	}
}

func TestCheckName(t *testing.T) {
	long := strings.Repeat("e", session.MaxNameElement)
	for _, name := range []string{
		"a",
		"model.gguf",
		"llama/model.gguf",
		"a/b/c/d",
		"...",
		"..a/.b",
		".hidden",
		"with space/ü/日本",
		"deep/.slipway",
		".slipwayed",
		"deep/.SLIPWAY/a",
		"caf\u00e9",
		"cafe\u0301",
		long,
		strings.Repeat(long+"/", 3) + long[:session.MaxNameElement],
		`"quoted"`,
		"a:b*c?",
	} {
		if err := session.CheckName(name); err != nil {
			t.Errorf("%q can be used, got %v", name, err)
		}
	}
	for _, test := range []struct{ name, why string }{
		{"", "is empty"},
		{"/", "empty element"},
		{"/etc/passwd", "absolute"},
		{"a/", "empty last element"},
		{"a//b", "empty element"},
		{".", "dot"},
		{"..", "dots"},
		{"../a", "dots first"},
		{"a/../b", "dots between"},
		{"a/..", "dots last"},
		{"a/./b", "dot between"},
		{".slipway", "reserved"},
		{".slipway/a", "below what is reserved"},
		{".Slipway/a", "reserved by another case"},
		{".SLIPWAY", "reserved in capitals"},
		{".\u017flipway/a", "reserved where the long s folds to s"},
		{`a\b`, "backslash"},
		{"a\x00b", "NUL"},
		{"a\nb", "newline"},
		{"a\x7fb", "delete"},
		{"a\u009bb", "a control character beyond ASCII"},
		{"a\u2028b", "a line separator"},
		{"a\u2029b", "a paragraph separator"},
		{"a\u202eb", "a direction mark"},
		{"a\ufffdb", "what was no text"},
		{"a\xffb", "no UTF-8"},
		{long + "e", "an element too long"},
		{"a/" + long + "e/b", "an element too long between"},
		{strings.Repeat("a/", session.MaxName/2) + "a", "too long"},
	} {
		expect(t, test.why, session.CheckName(test.name), session.ErrUnusableName)
	}
	if whole := strings.Repeat("a/", session.MaxName/2-1) + "aa"; len(whole) != session.MaxName || session.CheckName(whole) != nil {
		t.Errorf("a name of %d bytes can be used: %v", len(whole), session.CheckName(whole))
	}
}

func FuzzCheckName(f *testing.F) {
	for _, seed := range []string{"a", "../a", "a/b", ".slipway/x", "a//b", "\xff", ".SLIPWAY/x", ".\u017flipway/x", "%2e%2e/a", "..%2fa", `..\a`, "cafe\u0301", strings.Repeat("x", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if session.CheckName(name) != nil {
			return
		}
		for i, e := range strings.Split(name, "/") {
			if e == "" || e == "." || e == ".." || len(e) > 255 || (i == 0 && strings.ToLower(strings.ToUpper(e)) == ".slipway") {
				t.Errorf("%q can't be used because of its element %q", name, e)
			}
		}
		if len(name) > 1024 || strings.ContainsAny(name, "\\\x00\n\x7f\u0085\u009b\u2028\u2029\u061c\u200e\u202e\u2066\ufffd") {
			t.Errorf("%q can't be used", name)
		}
	})
}

func TestSpecBounds(t *testing.T) {
	const most = session.MaxChunks
	for _, test := range []struct {
		what  string
		spec  session.Spec
		valid bool
	}{
		{"an empty session", session.Spec{ChunkSize: 1}, true},
		{"one byte", session.Spec{Size: 1, ChunkSize: 1}, true},
		{"a chunk larger than the session", session.Spec{Size: 1, ChunkSize: math.MaxInt64}, true},
		{"as many chunks as may be", session.Spec{Size: most * 10, ChunkSize: 10}, true},
		{"as large as may be", session.Spec{Size: session.MaxSize, ChunkSize: session.MaxSize}, true},
		{"as long an owner, key and payload as may be", session.Spec{
			ChunkSize: 1, Owner: strings.Repeat("o", session.MaxOpaque), Key: strings.Repeat("k", session.MaxOpaque),
			Payload: make([]byte, session.MaxPayload),
		}, true},

		{"a negative size", session.Spec{Size: -1, ChunkSize: 1}, false},
		{"the smallest size there is", session.Spec{Size: math.MinInt64, ChunkSize: 1}, false},
		{"too large", session.Spec{Size: session.MaxSize + 1, ChunkSize: session.MaxSize}, false},
		{"no chunk size", session.Spec{Size: 1}, false},
		{"no chunk size of an empty session", session.Spec{}, false},
		{"a negative chunk size", session.Spec{Size: 1, ChunkSize: -1}, false},
		{"a chunk too many", session.Spec{Size: most*10 + 1, ChunkSize: 10}, false},
		{"an owner too long", session.Spec{ChunkSize: 1, Owner: strings.Repeat("o", session.MaxOpaque+1)}, false},
		{"a key too long", session.Spec{ChunkSize: 1, Key: strings.Repeat("k", session.MaxOpaque+1)}, false},
		{"a payload too long", session.Spec{ChunkSize: 1, Payload: make([]byte, session.MaxPayload+1)}, false},
		{"a negative idle timeout", session.Spec{ChunkSize: 1, IdleTimeout: -time.Nanosecond}, false},
	} {
		if err := test.spec.Validate(); test.valid && err != nil {
			t.Errorf("%s: %v", test.what, err)
		} else if !test.valid {
			expect(t, test.what, err, session.ErrInvalid)
		}
	}
}

func TestExtentsCoverTheSessionOnce(t *testing.T) {
	for _, test := range []struct {
		size, chunkSize int64
		chunks          int
		last            int64 // the length of the last chunk
	}{
		{size: 0, chunkSize: 4, chunks: 0},
		{size: 1, chunkSize: 4, chunks: 1, last: 1},
		{size: 4, chunkSize: 4, chunks: 1, last: 4},
		{size: 5, chunkSize: 4, chunks: 2, last: 1},
		{size: 7, chunkSize: 4, chunks: 2, last: 3},
		{size: 8, chunkSize: 4, chunks: 2, last: 4},
		{size: 100_000, chunkSize: 1, chunks: 100_000, last: 1},
		{size: session.MaxSize, chunkSize: session.MaxSize - 1, chunks: 2, last: 1},
		{size: 3, chunkSize: math.MaxInt64, chunks: 1, last: 3},
	} {
		spec := session.Spec{Size: test.size, ChunkSize: test.chunkSize}
		if got := spec.Chunks(); got != test.chunks {
			t.Errorf("%+v has %d chunks, not %d", spec, test.chunks, got)
		}
		next, last := int64(0), int64(0)
		for index := range spec.Chunks() {
			offset, length, err := spec.Extent(index)
			if err != nil || offset != next || length < 1 {
				t.Fatalf("chunk %d of %+v: offset %d, length %d, %v; want offset %d", index, spec, offset, length, err, next)
			}
			next, last = offset+length, length
		}
		if next != test.size || last != test.last {
			t.Errorf("%+v: the chunks end at %d and the last has %d bytes, want %d", spec, next, last, test.last)
		}
		for _, outside := range []int{-1, math.MinInt, test.chunks, test.chunks + 1, math.MaxInt} {
			_, _, err := spec.Extent(outside)
			expect(t, "a chunk outside", err, session.ErrInvalid)
		}
	}
}

func TestStates(t *testing.T) {
	for state, ended := range map[session.State]bool{
		"": false, session.Open: false, session.Sealed: false,
		session.Finished: true, session.Failed: true, session.Aborted: true, session.Expired: true,
	} {
		if state.Ended() != ended {
			t.Errorf("state %q: want ended %v", state, ended)
		}
	}
}

func TestSlotsReadBackInTheirOwnPlaceOnly(t *testing.T) {
	slot := session.Slot{Length: 1 << 40, Checksum: math.MaxUint64 - 7}
	stored := session.EncodeSlot("a-session", 7, slot)
	if got, ok := session.DecodeSlot("a-session", 7, stored[:]); !ok || got != slot {
		t.Errorf("want %+v back, got %+v, %v", slot, got, ok)
	}
	for _, test := range []struct {
		what  string
		id    session.ID
		index int
		b     []byte
	}{
		{"another session", "b-session", 7, stored[:]},
		{"another chunk", "a-session", 8, stored[:]},
		{"nothing", "a-session", 7, nil},
		{"half of it", "a-session", 7, stored[:session.SlotSize/2]},
		{"more than it", "a-session", 7, append(stored[:], 0)},
		{"zeros", "a-session", 7, make([]byte, session.SlotSize)},
		{"ones", "a-session", 7, bytes.Repeat([]byte{0xff}, session.SlotSize)},
	} {
		if got, ok := session.DecodeSlot(test.id, test.index, test.b); ok || got != (session.Slot{}) {
			t.Errorf("%s: want no slot, got %+v, %v", test.what, got, ok)
		}
	}
	empty := session.EncodeSlot("a-session", 7, session.Slot{Checksum: 1})
	if _, ok := session.DecodeSlot("a-session", 7, empty[:]); ok {
		t.Error("a slot without length counts")
	}
}

func TestDamagedSlotsAreAbsent(t *testing.T) {
	stored := session.EncodeSlot("a-session", 3, session.Slot{Length: 4096, Checksum: 0x0123456789abcdef})
	for at := range stored {
		for flip := 1; flip < 256; flip++ {
			damaged := stored
			damaged[at] ^= byte(flip)
			if got, ok := session.DecodeSlot("a-session", 3, damaged[:]); ok {
				t.Fatalf("byte %d flipped by %#x reads as %+v", at, flip, got)
			}
		}
	}
	other := session.EncodeSlot("a-session", 3, session.Slot{Length: 4095, Checksum: 0xfedcba9876543210})
	for at := 1; at < session.SlotSize; at++ {
		torn := append(bytes.Clone(stored[:at]), other[at:]...)
		_, ok := session.DecodeSlot("a-session", 3, torn)
		if whole := bytes.Equal(torn, stored[:]) || bytes.Equal(torn, other[:]); ok != whole {
			t.Errorf("torn at byte %d: counts %v", at, ok)
		}
	}
	for at := range session.SlotSize {
		torn := append(bytes.Clone(stored[:at]), make([]byte, session.SlotSize-at)...)
		if _, ok := session.DecodeSlot("a-session", 3, torn); ok {
			t.Errorf("cut at byte %d it counts", at)
		}
	}
}

func FuzzDecodeSlot(f *testing.F) {
	good := session.EncodeSlot("a", 1, session.Slot{Length: 5, Checksum: 6})
	f.Add("a", 1, good[:])
	f.Add("a", 2, good[:])
	f.Add("a", 1, good[:8])
	f.Add("", 0, make([]byte, session.SlotSize))
	f.Fuzz(func(t *testing.T, id string, index int, b []byte) {
		slot, ok := session.DecodeSlot(session.ID(id), index, b)
		if !ok {
			if slot != (session.Slot{}) {
				t.Errorf("an absent slot says %+v", slot)
			}
			return
		}
		if slot.Length <= 0 {
			t.Errorf("length %d", slot.Length)
		}
		if again := session.EncodeSlot(session.ID(id), index, slot); !bytes.Equal(again[:24], b[:24]) || !bytes.Equal(again[28:], b[28:]) {
			t.Errorf("%x reads as %+v, which is stored as %x", b, slot, again)
		}
	})
}

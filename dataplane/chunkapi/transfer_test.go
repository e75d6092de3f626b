package chunkapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

func digestOf(b []byte) upload.Digest {
	sum := sha256.Sum256(b)
	d, err := upload.SHA256.Digest(sum[:])
	if err != nil {
		panic(err)
	}
	return d
}

func TestUploads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		size, chunkSize int
	}{
		{"empty", 0, 4},
		{"one byte", 1, 4},
		{"one byte in chunks of one", 1, 1},
		{"single chunk", 1 << 20, 1 << 20},
		{"single chunk in larger ones", 1000, 1 << 20},
		{"short last chunk", 3<<18 + 1, 1 << 16},
		{"even chunks", 1 << 18, 1 << 16},
	} {
		for _, explicit := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s explicit=%v", c.name, explicit), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, options{})
				data := noise(1, c.size)
				w.grant("obj", int64(c.size), int64(c.chunkSize), func(g *upload.Grant) {
					g.Explicit, g.Digest = explicit, digestOf(data)
				})
				w.sendAll("obj", data, c.chunkSize)
				if !explicit {
					eventually(t, "published by itself", func() bool {
						return w.do(http.MethodGet, base("obj"), nil).status(t).State == StatePublished
					})
				}
				for range 2 { // completing again is the same
					st := w.do(http.MethodPost, base("obj")+"/complete", nil, "Repr-Digest", formatDigest(digestOf(data))).want(t, http.StatusOK).status(t)
					if st.State != StatePublished || st.Result == nil || st.Result.Digest != digestOf(data) || st.Result.PublishedTime == nil {
						t.Fatalf("completed as %+v", st)
					}
					if st.ReceivedBytes != int64(c.size) || st.ReceivedChunks != st.TotalChunks || len(st.Missing) != 0 || st.MissingChunks != 0 {
						t.Fatalf("completed with %+v", st)
					}
				}
				if got := w.object("obj"); !bytes.Equal(got, data) {
					t.Fatal("the object differs")
				}
				if got := w.do(http.MethodGet, base("obj")+"/content", nil).want(t, http.StatusOK); !bytes.Equal(got.body, data) {
					t.Fatal("the content differs")
				}
			})
		}
	}
}

// sendAll sends the chunks in any order, eight at a time.
func (w *world) sendAll(name string, data []byte, chunkSize int) {
	w.t.Helper()
	chunks := slices.Collect(slices.Chunk(data, chunkSize))
	order := make(chan int, len(chunks))
	for _, index := range rand.Perm(len(chunks)) {
		order <- index
	}
	close(order)
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for index := range order {
				if a := w.put(name, index, chunks[index]); a.StatusCode != http.StatusCreated {
					w.t.Errorf("chunk %d: %d %s", index, a.StatusCode, a.body)
				}
			}
		})
	}
	senders.Wait()
}

func TestParallelDuplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{takeOverAfter: time.Hour})
	const chunkSize = 100_000
	data := noise(3, 10*chunkSize-7)
	w.grant("obj", int64(len(data)), chunkSize)
	var created, held [10]int
	var mu sync.Mutex
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for _, index := range rand.Perm(10) {
				a := w.put("obj", index, data[index*chunkSize:min((index+1)*chunkSize, len(data))])
				got := decode[Stored](t, a.body)
				mu.Lock()
				switch {
				case a.StatusCode == http.StatusCreated && got == Stored{Index: index, State: ChunkStored}:
					created[index]++
				case a.StatusCode == http.StatusOK && got == Stored{Index: index, State: ChunkHeld}:
					held[index]++
				}
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	for index := range created {
		if created[index] != 1 || held[index] != 7 {
			t.Errorf("chunk %d was new %d times and held %d times, want 1 and 7", index, created[index], held[index])
		}
	}
	w.do(http.MethodPost, base("obj")+"/complete", nil).want(t, http.StatusOK)
	w.put("obj", 9, data[9*chunkSize:]).want(t, http.StatusOK) // published holds it too
	if !bytes.Equal(w.object("obj"), data) {
		t.Error("the object differs")
	}
}

func TestContentDigests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	data := []byte("123456789")
	sum256, sum512 := sha256.Sum256(data), sha512.Sum512(data)
	encode := func(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(b) + ":" }
	good := map[string]string{
		"sha-256":   encode(sum256[:]),
		"sha-512":   encode(sum512[:]),
		"crc32c":    encode([]byte{0xe3, 0x06, 0x92, 0x83}),                         // the catalogue's check value
		"crc64nvme": encode([]byte{0xae, 0x8b, 0x14, 0x86, 0x0a, 0x79, 0x98, 0x88}), // likewise
	}
	if crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) != 0xe3069283 || crc64nvme.Checksum(data) != 0xae8b14860a799888 {
		t.Fatal("the check values are wrong")
	}
	w.grant("obj", 9*9, 9)
	index := 0
	for algorithm, value := range good {
		w.put("obj", index, data, "Content-Digest", algorithm+"="+value).want(t, http.StatusCreated)
		w.put("obj", index, data, "Content-Digest", algorithm+"="+value).want(t, http.StatusOK)
		// Every digest is checked, not just the first or the strongest.
		for other, otherValue := range good {
			if other == algorithm {
				continue
			}
			wrong := strings.Replace(value, value[1:5], "AAAA", 1)
			a := w.put("obj", index, data, "Content-Digest", algorithm+"="+wrong, "Content-Digest", other+"="+otherValue)
			if p := a.problem(t); p.Code != CodeDigestMismatch {
				t.Errorf("wrong %s beside %s: %s", algorithm, other, p.Code)
			}
		}
		index++
	}
	all := fmt.Sprintf("md5=:AAAAAAAAAAAAAAAAAAAAAA==:, sha-256=%s, sha-512=%s;x=1, crc32c=%s, crc64nvme=%s",
		good["sha-256"], good["sha-512"], good["crc32c"], good["crc64nvme"])
	w.put("obj", index, data, "Content-Digest", all).want(t, http.StatusCreated)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	deadline := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	w.grant("obj", 1000, 1, func(g *upload.Grant) { g.Deadline, g.IdleTimeout = deadline, 2*time.Hour })
	st := w.do(http.MethodGet, base("obj"), nil).want(t, http.StatusOK).status(t)
	if st.LastActivityTime != nil || st.ExpirationTime == nil || !st.ExpirationTime.Equal(deadline) {
		t.Errorf("last activity %v, expiration %v, want none and %v", st.LastActivityTime, st.ExpirationTime, deadline)
	}
	for index := 1; index < 1000; index += 2 {
		w.put("obj", index, []byte("x")).want(t, http.StatusCreated)
	}
	a := w.do(http.MethodGet, base("obj"), nil).want(t, http.StatusOK)
	st = a.status(t)
	if len(st.Missing) != 100 || st.Missing[0] != (Range{0, 0}) || st.Missing[99] != (Range{198, 198}) || st.MissingChunks != 500 {
		t.Errorf("%d missing in ranges %v", st.MissingChunks, st.Missing)
	}
	if st.LastActivityTime == nil {
		t.Error("no last activity")
	}
	st.Missing, st.LastActivityTime, st.ExpirationTime = nil, nil, nil
	if want := (Status{
		Namespace: "ml", Name: "obj", UID: "uid-1", State: StateActive, Key: "models/obj", SizeBytes: 1000, ChunkSizeBytes: 1,
		TotalChunks: 1000, ReceivedChunks: 500, ReceivedBytes: 500, MissingChunks: 500,
	}); fmt.Sprint(st) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", st, want)
	}
	head := w.do(http.MethodHead, base("obj"), nil).want(t, http.StatusOK)
	if len(head.body) != 0 {
		t.Errorf("HEAD has a body: %s", head.body)
	}
	for name, value := range map[string]string{
		"Slipway-State": "Active", "Slipway-Size-Bytes": "1000", "Slipway-Chunk-Size-Bytes": "1", "Slipway-Total-Chunks": "1000",
		"Slipway-Received-Chunks": "500", "Slipway-Received-Bytes": "500", "Cache-Control": "no-store", "Content-Type": "application/json",
	} {
		if a.Header.Get(name) != value || head.Header.Get(name) != value {
			t.Errorf("%s is %q, by HEAD %q, want %q", name, a.Header.Get(name), head.Header.Get(name), value)
		}
	}
	w.do(http.MethodDelete, base("obj"), nil).want(t, http.StatusNoContent)
	w.do(http.MethodDelete, base("obj"), nil).want(t, http.StatusNoContent)
	st = w.do(http.MethodGet, base("obj"), nil).want(t, http.StatusOK).status(t)
	if st.State != StateAborted || st.Result == nil || st.Result.Reason != upload.ClientAborted || st.Result.Message == "" || st.ExpirationTime != nil {
		t.Errorf("after the abort: %+v", st)
	}
}

func TestCompleteInTheBackground(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{CompleteWait: 20 * time.Millisecond, IdleTimeout: 10 * time.Millisecond}})
	w.grant("obj", 4, 4)
	w.put("obj", 0, []byte("0123")).want(t, http.StatusCreated)
	gate, open := holdPublication(w)
	for range 2 {
		a := w.do(http.MethodPost, base("obj")+"/complete", nil).want(t, http.StatusAccepted)
		if st := a.status(t); st.State != StateCompleting || a.Header.Get("Retry-After") != "1" || st.Result != nil {
			t.Fatalf("while verifying: %+v, headers %v", st, a.Header)
		}
	}
	await(t, "publication", gate)
	w.put("obj", 0, []byte("0123")).want(t, http.StatusOK)
	open()
	eventually(t, "completed", func() bool {
		return w.do(http.MethodPost, base("obj")+"/complete", strings.NewReader("{}")).StatusCode == http.StatusOK
	})
}

func TestContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	data := noise(5, 100_000)
	publish(w, "obj", data)
	path := base("obj") + "/content"
	whole := w.do(http.MethodGet, path, nil).want(t, http.StatusOK)
	etag := whole.Header.Get("ETag")
	for name, value := range map[string]string{
		"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "Repr-Digest": formatDigest(digestOf(data)),
		"ETag": `"` + string(digestOf(data)) + `"`, "Content-Length": "100000",
	} {
		if got := whole.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	head := w.do(http.MethodHead, path, nil).want(t, http.StatusOK)
	if len(head.body) != 0 || head.ContentLength != 100_000 || head.Header.Get("ETag") != etag {
		t.Errorf("HEAD: %d bytes of %d, %v", len(head.body), head.ContentLength, head.Header)
	}
	for field, want := range map[string][]byte{
		"bytes=0-0": data[:1], "bytes=10-19": data[10:20], "bytes=99990-": data[99990:], "bytes=-7": data[len(data)-7:],
		"bytes=99999-200000": data[99999:],
	} {
		a := w.do(http.MethodGet, path, nil, "Range", field, "If-Range", etag).want(t, http.StatusPartialContent)
		if !bytes.Equal(a.body, want) || a.Header.Get("Repr-Digest") == "" {
			t.Errorf("%s: %d bytes, want %d; %v", field, len(a.body), len(want), a.Header)
		}
	}
	w.do(http.MethodGet, path, nil, "If-None-Match", etag).want(t, http.StatusNotModified)
	if a := w.do(http.MethodGet, path, nil, "Range", "bytes=0-1", "If-Range", `"old"`).want(t, http.StatusOK); !bytes.Equal(a.body, data) {
		t.Error("a range of another object was served")
	}
	if a := w.do(http.MethodGet, path, nil, "Range", "bytes=0-1,5-6").want(t, http.StatusPartialContent); !strings.HasPrefix(a.Header.Get("Content-Type"), "multipart/byteranges") {
		t.Errorf("several ranges: %v", a.Header)
	}
	if p := w.do(http.MethodHead, path, nil, "Range", "bytes=100000-"); p.StatusCode != http.StatusRequestedRangeNotSatisfiable || len(p.body) != 0 {
		t.Errorf("HEAD beyond the end: %d %s", p.StatusCode, p.body)
	}
}

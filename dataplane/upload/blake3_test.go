package upload_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	oracle "lukechampine.com/blake3"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func blake3Of(b []byte) upload.Digest {
	return upload.Digest(fmt.Sprintf("blake3:%x", oracle.Sum256(b)))
}

func byBlake3(g *upload.Grant) { g.Algorithm = upload.BLAKE3 }

func TestUploadsByBlake3(t *testing.T) {
	for _, test := range []struct {
		what            string
		size, chunkSize int64
		tree            bool
	}{
		{"nothing", 0, 1024, false},
		{"one byte", 1, 1024, false},
		{"one chunk", 4096, 4096, false},
		{"a chunk and a byte", 4097, 4096, true},
		{"a short last chunk", 5*4096 + 1000, 4096, true},
		{"many chunks", 33 * 1024, 1024, true},
		{"large chunks", 300_000, 1 << 16, true},
		{"chunks that are no subtrees", 30_000, 3000, false},
	} {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restarts %v", test.what, restarts), func(t *testing.T) {
				r := newRig(t)
				object := content(1, test.size)
				g := grant("id", sized(test.size, test.chunkSize), explicit, byBlake3)
				r.accept(g)
				order := rand.Perm(chunks(g))
				send := func(order []int) {
					var sending sync.WaitGroup
					for _, index := range order {
						sending.Go(func() {
							if added, err := r.put(g, index, object); err != nil || !added {
								t.Errorf("chunk %d: added %v, %v", index, added, err)
							}
						})
					}
					sending.Wait()
				}
				half := len(order) / 2
				send(order[:half])
				if restarts {
					r.crash()
				}
				send(order[half:])
				st, err := r.Complete(r.ctx, g.Name, blake3Of(object))
				if err != nil || st.Result.Digest != blake3Of(object) {
					t.Fatalf("completed as %+v, %v, want %s", st.Result, err, blake3Of(object))
				}
				if n := r.volume.count("ReadAt"); test.tree && !restarts && n != 0 {
					t.Errorf("%d reads, although the order does not matter", n)
				}
				if st := r.expectEnd("id", upload.Published); !bytes.Equal(r.under(g.Key), object) || st.Grant.Algorithm != upload.BLAKE3 {
					t.Errorf("it ended as %+v", st)
				}
			})
		}
	}
}

// After a restart what is held is read back once, beside the chunks that come.
func TestATreeIsReadBackOnce(t *testing.T) {
	const chunk, held = 1 << 10, 8
	r := newRig(t)
	object := content(1, 16*chunk)
	g := grant("id", sized(16*chunk, chunk), explicit, byBlake3)
	r.accept(g)
	for index := range held {
		if _, err := r.put(g, 2*index, object); err != nil {
			t.Fatal(err)
		}
	}
	r.crash()
	for index := range held {
		if _, err := r.put(g, 2*index+1, object); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Complete(r.ctx, g.Name, blake3Of(object)); err != nil {
		t.Error(err)
	}
	if n := r.volume.count("ReadAt"); n != held {
		t.Errorf("%d reads, want %d", n, held)
	}
}

func TestTheSpecSaysBlake3(t *testing.T) {
	object := content(1, 5000)
	for _, test := range []struct {
		what   string
		digest upload.Digest
		want   upload.Reason
	}{
		{"and is right", blake3Of(object), upload.Published},
		{"and is wrong", blake3Of(object[1:]), upload.DigestMismatch},
		{"with the sum by another algorithm", "blake3" + digestOf(object)[6:], upload.DigestMismatch},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", sized(5000, 1024), withDigest(test.digest))
			r.accept(g)
			r.sendBackwards(g, object)
			r.expectEnd("id", test.want)
		})
	}
}

// A right digest by another algorithm is not compared, so that it is not good.
func TestTheDigestThatACallerWantsByAnotherAlgorithm(t *testing.T) {
	object := content(1, 25)
	for _, test := range []struct {
		algorithm    upload.Algorithm
		wrong, right upload.Digest
	}{
		{upload.SHA256, blake3Of(object), digestOf(object)},
		{upload.BLAKE3, digestOf(object), blake3Of(object)},
	} {
		r := newRig(t)
		g := grant("id", explicit, func(g *upload.Grant) { g.Algorithm = test.algorithm })
		r.accept(g)
		r.send(g, object)
		for range 2 {
			_, err := r.Complete(r.ctx, g.Name, test.wrong)
			expect(t, "the one by another algorithm", err, session.ErrMismatch)
			if _, err := r.Complete(r.ctx, g.Name, test.right); err != nil {
				t.Errorf("the right one: %v", err)
			}
		}
	}
}

func TestTheAlgorithmOfAGrant(t *testing.T) {
	digits := strings.Repeat("0", 64)
	for _, test := range []struct {
		digest    upload.Digest
		algorithm upload.Algorithm
		want      upload.Algorithm
		payload   string
	}{
		// What was stored before there was another algorithm: it must not change.
		{"", "", upload.SHA256, `{"key":"dir/object"}`},
		{upload.Digest("sha256:" + digits), "", upload.SHA256, `{"key":"dir/object","digest":"sha256:` + digits + `"}`},
		{"", upload.SHA256, upload.SHA256, `{"key":"dir/object"}`},

		{"", upload.BLAKE3, upload.BLAKE3, `{"key":"dir/object","algorithm":"blake3"}`},
		{upload.Digest("blake3:" + digits), "", upload.BLAKE3, `{"key":"dir/object","digest":"blake3:` + digits + `","algorithm":"blake3"}`},
		{upload.Digest("blake3:" + digits), upload.BLAKE3, upload.BLAKE3, `{"key":"dir/object","digest":"blake3:` + digits + `","algorithm":"blake3"}`},

		{upload.Digest("blake3:" + digits), upload.SHA256, "", ""},
		{upload.Digest("sha256:" + digits), upload.BLAKE3, "", ""},
		{"", "SHA3", "", ""},
		{"sha3:00", "", "", ""},
		{"sha3:00", upload.SHA256, "", ""},
	} {
		r := newRig(t)
		g := grant("id", withDigest(test.digest), func(g *upload.Grant) { g.Algorithm = test.algorithm })
		st, err := r.Accept(r.ctx, g)
		if test.want == "" {
			expect(t, fmt.Sprintf("%s with %q", test.algorithm, test.digest), err, session.ErrInvalid)
			continue
		}
		if err != nil || st.Grant.Algorithm != test.want || string(st.Meta.Spec.Payload) != test.payload {
			t.Errorf("%s with %q: it is %s, stored as %s, %v", test.algorithm, test.digest, st.Grant.Algorithm, st.Meta.Spec.Payload, err)
		}
	}
}

// Of chunks that come too far apart some are read back, and only those.
func TestChunksFarApartAreReadBack(t *testing.T) {
	const chunk, total = 1 << 10, 1300
	r := newRig(t)
	object := content(1, total*chunk-3)
	g := grant("id", sized(total*chunk-3, chunk), byBlake3)
	r.accept(g)
	for _, from := range []int{0, 1} {
		for index := from; index < total; index += 2 {
			if added, err := r.put(g, index, object); err != nil || !added {
				t.Fatalf("chunk %d: added %v, %v", index, added, err)
			}
		}
	}
	if st := r.expectEnd("id", upload.Published); st.Result.Digest != blake3Of(object) {
		t.Errorf("the digest is %s, want %s", st.Result.Digest, blake3Of(object))
	}
	if n := r.volume.count("ReadAt"); n == 0 || n >= total/2 {
		t.Errorf("%d reads", n)
	}
}

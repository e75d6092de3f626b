package cluster

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/strictjson"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// namePrefix comes before what tells the sessions apart that clients create here.
const namePrefix = "upl-"

// keyBytes is how much of a digest the name of a session has.
const keyBytes = 20

// request is what a client wants created, in the API server's words.
type request struct {
	// name is empty where the API server is to generate one.
	name string
	// owner is the spec's.
	owner string
	// spec is what the client sent, with the owner and the store: the API server is to judge just that.
	spec map[string]any
	// fingerprint is the same for two requests with the same spec.
	fingerprint string
}

// requestOf reads what a client wants. The errors are those of upload.Creator.
func (p place) requestOf(r upload.CreateRequest) (request, error) {
	if r.Namespace != p.namespace {
		return request{}, fmt.Errorf("%w: UploadStore %q of namespace %q", upload.ErrOtherStore, p.store, p.namespace)
	}
	spec, err := decodeSpec(r.Spec)
	if err != nil {
		return request{}, err
	}
	if store := spec.typed.StoreRef.Name; store != "" && store != p.store {
		return request{}, fmt.Errorf("%w: UploadStore %q, and storeRef names %q", upload.ErrOtherStore, p.store, store)
	}
	if owner := spec.typed.Owner; owner != "" && owner != r.Owner {
		return request{}, fmt.Errorf("%w: the spec names %q as the owner, and the caller is %q", upload.ErrForbidden, owner, r.Owner)
	}
	spec.sent["storeRef"] = map[string]any{"name": p.store}
	spec.sent["owner"] = r.Owner
	made := request{owner: r.Owner, spec: spec.sent, fingerprint: fingerprint(spec.sent)}
	if r.Key != "" {
		made.name = nameFor(r.Owner, r.Key)
	}
	return made, nil
}

// decodedSpec is a spec as it was sent, field by field, and as it was understood.
type decodedSpec struct {
	sent  map[string]any
	typed v1alpha1.UploadSessionSpec
}

// decodeSpec reads a spec strictly: a field that there is not, or that comes
// twice, is an error rather than something the client only thinks it asked for.
func decodeSpec(body []byte) (decodedSpec, error) {
	var d decodedSpec
	var err error
	if d.sent, err = strictjson.Unmarshal(body, &d.typed); err != nil {
		return decodedSpec{}, fmt.Errorf("%w: %w", upload.ErrMalformedSpec, err)
	}
	return d, nil
}

// nameFor is the name of the session that an owner creates with a key. No two
// pairs have one name: each part is hashed with its length before it.
func nameFor(owner, key string) string {
	h := sha256.New()
	for _, part := range []string{"slipway session name 1", owner, key} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	digits := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:keyBytes])
	return namePrefix + strings.ToLower(digits)
}

// canonical is a spec as JSON with its fields sorted and no space between them,
// however it was written.
func canonical(spec map[string]any) []byte {
	b, err := json.Marshal(spec)
	if err != nil { // it was JSON before
		panic(err)
	}
	return b
}

func fingerprint(spec map[string]any) string {
	sum := sha256.Sum256(canonical(spec))
	return "sha256:" + hex.EncodeToString(sum[:])
}

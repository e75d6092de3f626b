package contender

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/bench/internal/client"
	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/proc"
)

// SlipwayPlain is the contender that the figure which counts is of.
const SlipwayPlain = "slipway"

const (
	store   = "bench"
	replica = "bench-0"
	// creating is how many sessions are created at once.
	creating = 16
)

// way is how Slipway is used.
type way struct {
	digests   bool // each chunk comes with its SHA-256
	live      bool // the control plane goes on while it is measured
	algorithm v1alpha1.DigestAlgorithm
}

// Slipway returns the real dataplane in its ways.
func Slipway(binary, version string, plane *Plane) []Contender {
	one := func(id, title, verified, note string, how way, takes func(load.Load) bool) Contender {
		return Contender{
			ID: id, Title: title, Version: version, Takes: takes, Note: note,
			Synced: "bytes, ledger and name, per chunk and object", Verified: verified,
			Start: func(ctx context.Context, dir string) (Server, error) {
				return startSlipway(ctx, binary, dir, plane, how)
			},
		}
	}
	const whole = "SHA-256 of the whole, a checksum of each chunk"
	return []Contender{
		one(SlipwayPlain, "Slipway", whole, "sessions are created and admitted before the clock starts; an object of many chunks ends with a call to complete, one of a single chunk takes one request (`Prefer: wait`)", way{}, nil),
		one("slipway-digest", "Slipway, Content-Digest on each chunk", whole+", SHA-256 of each chunk",
			"as above; the client's digests are computed before the clock starts", way{digests: true}, nil),
		one("slipway-blake3", "Slipway, BLAKE3", "BLAKE3 of the whole, a checksum of each chunk",
			"as Slipway, but spec.digestAlgorithm is BLAKE3", way{algorithm: v1alpha1.DigestAlgorithmBLAKE3}, nil),
		one("slipway-live", "Slipway, control plane on the same cores", whole,
			"as Slipway, but kube-apiserver and etcd run on the same cores and disk and take every result while it is measured",
			way{live: true}, func(l load.Load) bool { return l.Small }),
	}
}

// Variant returns another build of the dataplane, used as SlipwayPlain is.
func Variant(name, binary string, plane *Plane) Contender {
	c := Slipway(binary, "variant", plane)[0]
	c.ID, c.Title = name, "Slipway, "+name
	return c
}

type slipway struct {
	base
	plane     *Plane
	how       way
	namespace string
	refused   atomic.Int64 // how often a request was told to come again
}

func startSlipway(ctx context.Context, binary, dir string, plane *Plane, how way) (Server, error) {
	if err := plane.Thaw(ctx); err != nil {
		return nil, err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	if err := plane.client.Create(ctx, ns); err != nil {
		return nil, err
	}
	s := &slipway{plane: plane, how: how, namespace: ns.Name}
	if err := os.Mkdir(s.volume(dir), 0o755); err != nil {
		return nil, err
	}
	health, err := proc.FreeAddress()
	if err != nil {
		return nil, err
	}
	s.base, err = newBase(ctx, "dataplane", dir, func(address string) proc.Spec {
		return proc.Spec{Command: []string{
			binary, "--kubeconfig", plane.kubeconfig, "--root", s.volume(dir),
			"--namespace", s.namespace, "--store", store, "--replica", replica,
			"--listen", address, "--health-address", health, "--insecure-no-auth", "--log-level", "WARN",
		}}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *slipway) volume(dir string) string { return filepath.Join(dir, "volume") }

func (s *slipway) session(o load.Object) string {
	return "/v1/namespaces/" + s.namespace + "/uploadsessions/" + o.Name
}

// Prepare creates the sessions as their user, admits them as the operator, and
// waits until the dataplane has taken each up.
func (s *slipway) Prepare(ctx context.Context, objects []load.Object) error {
	err := Parallel(len(objects), creating, func(i int) error {
		o := objects[i]
		if err := s.create(ctx, o); err != nil {
			return err
		}
		// A session that the dataplane does not know yet, it asks for.
		reply, err := s.call(ctx, client.Request{Method: http.MethodGet, Path: s.session(o)}, http.StatusOK)
		if err != nil {
			return err
		}
		var status struct {
			State          string `json:"state"`
			ChunkSizeBytes int64  `json:"chunkSizeBytes"`
		}
		if err := json.Unmarshal(reply.Body, &status); err != nil {
			return err
		}
		if status.State != "Active" || status.ChunkSizeBytes != o.Load.ChunkBytes {
			return fmt.Errorf("session %s: %s", o.Name, reply.Body)
		}
		for chunk := range o.Chunks() {
			if s.how.digests {
				o.Digest(chunk) // it is kept
			}
		}
		return nil
	})
	if err != nil || s.how.live {
		return err
	}
	return s.plane.Freeze()
}

// create writes what a user and the operator write.
func (s *slipway) create(ctx context.Context, o load.Object) error {
	u := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: o.Name},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: store}, Key: o.Name, SizeBytes: ptr.To(o.Size()),
			DigestAlgorithm: s.how.algorithm,
		},
	}
	if err := s.plane.client.Create(ctx, u); err != nil {
		return err
	}
	admission := applyv1alpha1.UploadSessionAdmission().
		WithReplica(replica).WithEndpoint("http://" + s.address).WithChunkSizeBytes(o.Load.ChunkBytes).
		WithIdleTimeoutSeconds(3600).WithReservedBytes(o.Size()).WithAdmittedTime(metav1.Now().Rfc3339Copy())
	return s.plane.client.Status().Apply(ctx,
		applyv1alpha1.UploadSession(u.Name, u.Namespace).WithUID(u.UID).
			WithStatus(applyv1alpha1.UploadSessionStatus().WithAdmission(admission)),
		kube.FieldOwner(v1alpha1.OperatorFieldManager), kube.ForceOwnership)
}

// Put sends the chunks and asks for completion, in one request where there is one chunk.
func (s *slipway) Put(ctx context.Context, o load.Object) (time.Duration, error) {
	if o.Chunks() == 1 {
		reply, err := s.put(ctx, s.chunk(o, 0, [2]string{"Prefer", "wait=60"}))
		if err != nil {
			return 0, err
		}
		if s.published(o, reply) == nil {
			return reply.Done.Sub(reply.Sent), nil
		} // else it took longer than the server lets anybody wait
		return s.complete(ctx, o)
	}
	err := Parallel(o.Chunks(), o.Load.ChunksAtOnce, func(chunk int) error {
		_, err := s.put(ctx, s.chunk(o, chunk))
		return err
	})
	if err != nil {
		return 0, err
	}
	return s.complete(ctx, o)
}

// complete asks for completion, and returns how long that took.
func (s *slipway) complete(ctx context.Context, o load.Object) (time.Duration, error) {
	began := time.Now()
	reply, err := s.call(ctx, client.Request{Method: http.MethodPost, Path: s.session(o) + "/complete"}, http.StatusOK)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	return took, s.published(o, reply)
}

// published returns an error where a reply does not say that the object is.
func (s *slipway) published(o load.Object, reply *client.Reply) error {
	if strings.Contains(string(reply.Body), `"Published"`) {
		return nil
	}
	return fmt.Errorf("session %s: %s", o.Name, reply.Body)
}

// chunk is the request that sends a chunk.
func (s *slipway) chunk(o load.Object, chunk int, header ...[2]string) client.Request {
	offset, length := o.Extent(chunk)
	r := client.Request{
		Method: http.MethodPut, Path: fmt.Sprintf("%s/chunks/%d", s.session(o), chunk), Body: o, Offset: offset, Length: length, Header: header,
	}
	if s.how.digests {
		sum := o.Digest(chunk)
		r.Header = append(r.Header, [2]string{"Content-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"})
	}
	return r
}

// put sends a chunk, again where the server is busy.
func (s *slipway) put(ctx context.Context, r client.Request) (*client.Reply, error) {
	for {
		reply, err := s.pool.Do(ctx, r)
		if err != nil {
			return nil, err
		}
		if reply.Status != http.StatusServiceUnavailable && reply.Status != http.StatusTooManyRequests {
			return reply, reply.Want(http.StatusCreated)
		}
		s.refused.Add(1)
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Refused is how often a request was told to come again.
func (s *slipway) Refused() int64 { return s.refused.Load() }

// Path is where the object lies.
func (s *slipway) Path(o load.Object) string { return filepath.Join(s.volume(s.dir), o.Name) }

// Stop ends the dataplane and deletes its sessions, and leaves the control
// plane standing still.
func (s *slipway) Stop(ctx context.Context) error {
	if err := s.base.Stop(ctx); err != nil {
		return err
	}
	if err := s.plane.Thaw(ctx); err != nil {
		return err
	}
	if err := s.plane.client.DeleteAllOf(ctx, &v1alpha1.UploadSession{}, kube.InNamespace(s.namespace)); err != nil {
		return err
	}
	return s.plane.Freeze()
}

package heartbeat

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// MaxErrorBytes bounds what Read says is wrong with a Lease, in bytes.
const MaxErrorBytes = 2048

// mostQuoted bounds what is told of a value that is wrong, in bytes before they are quoted.
const mostQuoted = 80

// Report is what a replica says of itself.
type Report struct {
	// Replica is its name and endpoint.
	Replica v1alpha1.UploadStoreReplica
	// CapacityBytes is the size of its volume.
	CapacityBytes int64
	// AvailableBytes is what the volume would have free with nothing staged.
	AvailableBytes int64
	// CABundle is what clients trust when they call it: certificates in PEM, in the order of
	// the Lease and nothing between them. Empty where they need not be told.
	CABundle []byte
}

// LeaseName returns the name of the Lease of a replica.
func LeaseName(replica string) string {
	return v1alpha1.LeaseNamePrefix + replica
}

// LastSeen returns when the replica last renewed its Lease, by its own clock.
func LastSeen(lease *coordinationv1.Lease) time.Time {
	if lease.Spec.RenewTime == nil {
		return lease.CreationTimestamp.Time
	}
	return lease.Spec.RenewTime.Time
}

// Read returns what the Lease reports. The error names what is wrong with it, in no more than MaxErrorBytes: it is
// told in a status, which the API server refuses whole when one message in it is too long.
func Read(lease *coordinationv1.Lease) (Report, error) {
	name, ok := strings.CutPrefix(lease.Name, v1alpha1.LeaseNamePrefix)
	if !ok || name == "" || len(name) > 63 {
		return Report{}, fmt.Errorf("the name of Lease %q is not %q and the name of a replica", lease.Name, v1alpha1.LeaseNamePrefix)
	}
	endpoint := lease.Annotations[v1alpha1.EndpointAnnotation]
	if !isEndpoint(endpoint) {
		return Report{}, fmt.Errorf("annotation %s of Lease %q is %s, which is not an HTTP URL of at most %d bytes with a host and without credentials, query or fragment",
			v1alpha1.EndpointAnnotation, lease.Name, quoted(endpoint), maxEndpoint)
	}
	capacity, err := bytesOf(lease, v1alpha1.CapacityBytesAnnotation)
	if err != nil {
		return Report{}, err
	}
	available, err := bytesOf(lease, v1alpha1.AvailableBytesAnnotation)
	if err != nil {
		return Report{}, err
	}
	bundle, err := certificates(lease)
	if err != nil {
		return Report{}, err
	}
	return Report{
		Replica:        v1alpha1.UploadStoreReplica{Name: name, Endpoint: endpoint},
		CapacityBytes:  capacity,
		AvailableBytes: available,
		CABundle:       bundle,
	}, nil
}

// certificates returns the certificates that the Lease tells clients to trust, and nothing that is none.
func certificates(lease *coordinationv1.Lease) ([]byte, error) {
	value := lease.Annotations[v1alpha1.CABundleAnnotation]
	broken := fmt.Errorf("annotation %s of Lease %q is not certificates in PEM of at most %d bytes", v1alpha1.CABundleAnnotation, lease.Name, v1alpha1.MaxCABundleBytes)
	if len(value) > v1alpha1.MaxCABundleBytes {
		return nil, broken
	}
	var bundle []byte
	for rest := []byte(strings.TrimSpace(value)); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, broken
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, broken
		}
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		rest = bytes.TrimSpace(rest)
	}
	return bundle, nil
}

// maxEndpoint bounds an endpoint in bytes, as the API bounds it.
const maxEndpoint = 512

// isEndpoint reports whether clients can be sent there. What the API server
// would refuse, and with it the status of the whole store, is none.
func isEndpoint(endpoint string) bool {
	u, err := url.ParseRequestURI(endpoint)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		!strings.ContainsAny(endpoint, "?#") && len(endpoint) <= maxEndpoint
}

func bytesOf(lease *coordinationv1.Lease, annotation string) (int64, error) {
	value := lease.Annotations[annotation]
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("annotation %s of Lease %q is %s, which is not a number of bytes", annotation, lease.Name, quoted(value))
	}
	return n, nil
}

// quoted is the beginning of what somebody else wrote, at any length.
func quoted(value string) string {
	if len(value) <= mostQuoted {
		return strconv.Quote(value)
	}
	return fmt.Sprintf("%q... (%d bytes)", strings.ToValidUTF8(value[:mostQuoted], ""), len(value))
}

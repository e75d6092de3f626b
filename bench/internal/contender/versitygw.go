package contender

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/slipway-dev/slipway/bench/internal/client"
	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/proc"
)

const (
	s3Access, s3Secret = "benchmark", "benchmark-secret"
	s3Region           = "us-east-1"
	s3Bucket           = "objects"
	// unsignedPayload spares client and server a SHA-256 of each body.
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

// Versitygw returns versitygw over its posix backend.
func Versitygw(binary, version string) Contender {
	const id = "versitygw"
	return Contender{
		ID: id, Title: "versitygw, S3", Version: version, Synced: "no", Verified: "a CRC for its ETag, none that the client sent",
		Note: "never syncs; one large object is a multipart upload of 16 MiB parts, 4 at a time, " +
			"which it writes twice; others are one PUT; bodies are not signed and ETags are no MD5, which is its fastest",
		Start: func(ctx context.Context, dir string) (Server, error) {
			root := filepath.Join(dir, "root")
			if err := os.MkdirAll(root, 0o755); err != nil {
				return nil, err
			}
			b, err := newBase(ctx, id, dir, func(address string) proc.Spec {
				return proc.Spec{Command: []string{
					binary, "--access", s3Access, "--secret", s3Secret, "--region", s3Region, "--port", address,
					"--quiet", "--keep-alive", "--noacl", "posix", "--data-integrity-etag", root,
				}}
			})
			if err != nil {
				return nil, err
			}
			signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
			return &versitygw{base: b, signer: signer}, nil
		},
	}
}

type versitygw struct {
	base
	signer *v4.Signer
}

// Prepare creates the bucket.
func (v *versitygw) Prepare(ctx context.Context, _ []load.Object) error {
	_, err := v.do(ctx, client.Request{Method: http.MethodPut, Path: "/" + s3Bucket})
	return err
}

// do signs a request and sends it.
func (v *versitygw) do(ctx context.Context, r client.Request) (*client.Reply, error) {
	signed, err := http.NewRequestWithContext(ctx, r.Method, "http://"+v.address+r.Path, http.NoBody)
	if err != nil {
		return nil, err
	}
	signed.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	credentials := aws.Credentials{AccessKeyID: s3Access, SecretAccessKey: s3Secret}
	if err := v.signer.SignHTTP(ctx, credentials, signed, unsignedPayload, "s3", s3Region, time.Now()); err != nil {
		return nil, err
	}
	for name, values := range signed.Header {
		r.Header = append(r.Header, [2]string{name, values[0]})
	}
	return v.call(ctx, r, http.StatusOK)
}

// Put sends the object.
func (v *versitygw) Put(ctx context.Context, o load.Object) (time.Duration, error) {
	key := "/" + s3Bucket + "/" + o.Name
	if !o.Load.Single() {
		reply, err := v.do(ctx, client.Request{Method: http.MethodPut, Path: key, Body: o, Length: o.Size()})
		if err != nil {
			return 0, err
		}
		return reply.Done.Sub(reply.Sent), nil
	}
	return v.putMultipart(ctx, key, o)
}

// part is one line of what completes a multipart upload.
type part struct {
	PartNumber int
	ETag       string
}

func (v *versitygw) putMultipart(ctx context.Context, key string, o load.Object) (time.Duration, error) {
	reply, err := v.do(ctx, client.Request{Method: http.MethodPost, Path: key + "?uploads="})
	if err != nil {
		return 0, err
	}
	var created struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(reply.Body, &created); err != nil {
		return 0, err
	}
	var completed struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []part
	}
	completed.Part = make([]part, o.Chunks())
	err = Parallel(o.Chunks(), o.Load.ChunksAtOnce, func(chunk int) error {
		offset, length := o.Extent(chunk)
		reply, err := v.do(ctx, client.Request{
			Method: http.MethodPut, Path: fmt.Sprintf("%s?partNumber=%d&uploadId=%s", key, chunk+1, created.UploadID),
			Body: o, Offset: offset, Length: length,
		})
		if err == nil {
			completed.Part[chunk] = part{chunk + 1, reply.Header.Get("ETag")}
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	body, err := xml.Marshal(completed)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	_, err = v.do(ctx, client.Request{
		Method: http.MethodPost, Path: key + "?uploadId=" + created.UploadID, Body: client.Text(body), Length: int64(len(body)),
	})
	return time.Since(began), err
}

// Path is where the object lies.
func (v *versitygw) Path(o load.Object) string { return filepath.Join(v.dir, "root", s3Bucket, o.Name) }

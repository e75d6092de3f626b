package contender

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/client"
	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/proc"
)

// tusParts is how many partial uploads are concatenated.
const tusParts = 4

// Tusd returns tusd in its two ways.
func Tusd(binary, version string) []Contender {
	one := func(id, title, note string, concat bool, takes func(load.Load) bool) Contender {
		return Contender{
			ID: id, Title: title, Version: version, Synced: "no", Verified: "no", Note: note, Takes: takes,
			Start: func(ctx context.Context, dir string) (Server, error) {
				b, err := newBase(ctx, id, dir, func(address string) proc.Spec {
					return proc.Spec{Command: []string{
						binary, "-host", "127.0.0.1", "-port", port(address), "-upload-dir", filepath.Join(dir, "uploads"),
						"-verbose=false", "-expose-metrics=false", "-disable-cors",
					}}
				})
				if err != nil {
					return nil, err
				}
				return &tusd{base: b, concat: concat}, nil
			},
		}
	}
	return []Contender{
		one("tusd", "tusd", "never syncs, computes no checksum; one large object is one PATCH, others are sent with their creation in one request", false, nil),
		one("tusd-concat", "tusd, 4 partial uploads concatenated", "never syncs, computes no checksum; writes every byte twice", true, single),
	}
}

type tusd struct {
	base
	concat bool
	paths  sync.Map // object name -> path of its upload
}

// Prepare has nothing to do: to create an upload is part of it.
func (t *tusd) Prepare(context.Context, []load.Object) error { return nil }

// Put creates the upload and sends its bytes.
func (t *tusd) Put(ctx context.Context, o load.Object) (time.Duration, error) {
	switch {
	case t.concat:
		return t.putConcat(ctx, o)
	case o.Load.Single():
		upload, err := t.create(ctx, o.Size(), nil)
		if err != nil {
			return 0, err
		}
		t.paths.Store(o.Name, upload)
		return t.patch(ctx, upload, o, 0, o.Size())
	}
	reply, err := t.call(ctx, client.Request{
		Method: http.MethodPost, Path: "/files/", Body: o, Length: o.Size(),
		Header: [][2]string{
			{"Tus-Resumable", "1.0.0"},
			{"Upload-Length", strconv.FormatInt(o.Size(), 10)},
			{"Content-Type", "application/offset+octet-stream"},
		},
	}, http.StatusCreated)
	if err != nil {
		return 0, err
	}
	upload, err := location(reply)
	t.paths.Store(o.Name, upload)
	return reply.Done.Sub(reply.Sent), err
}

func (t *tusd) putConcat(ctx context.Context, o load.Object) (time.Duration, error) {
	// The parts may be cut anywhere but are of whole pages.
	const page = 4096
	part := (o.Size()/tusParts + page - 1) / page * page
	uploads := make([]string, tusParts)
	err := Parallel(tusParts, tusParts, func(i int) error {
		from := min(int64(i)*part, o.Size())
		length := min(part, o.Size()-from)
		upload, err := t.create(ctx, length, [][2]string{{"Upload-Concat", "partial"}})
		if err != nil {
			return err
		}
		uploads[i] = upload
		_, err = t.patch(ctx, upload, o, from, length)
		return err
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	reply, err := t.call(ctx, client.Request{
		Method: http.MethodPost, Path: "/files/",
		Header: [][2]string{{"Tus-Resumable", "1.0.0"}, {"Upload-Concat", "final;" + strings.Join(uploads, " ")}},
	}, http.StatusCreated)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	upload, err := location(reply)
	t.paths.Store(o.Name, upload)
	return took, err
}

func (t *tusd) create(ctx context.Context, size int64, header [][2]string) (string, error) {
	reply, err := t.call(ctx, client.Request{
		Method: http.MethodPost, Path: "/files/",
		Header: append([][2]string{{"Tus-Resumable", "1.0.0"}, {"Upload-Length", strconv.FormatInt(size, 10)}}, header...),
	}, http.StatusCreated)
	if err != nil {
		return "", err
	}
	return location(reply)
}

func (t *tusd) patch(ctx context.Context, upload string, o load.Object, from, length int64) (time.Duration, error) {
	reply, err := t.call(ctx, client.Request{
		Method: http.MethodPatch, Path: upload, Body: o, Offset: from, Length: length,
		Header: [][2]string{
			{"Tus-Resumable", "1.0.0"}, {"Upload-Offset", "0"}, {"Content-Type", "application/offset+octet-stream"},
		},
	}, http.StatusNoContent)
	if err != nil {
		return 0, err
	}
	return reply.Done.Sub(reply.Sent), nil
}

// location is the path of what was created.
func location(reply *client.Reply) (string, error) {
	u, err := url.Parse(reply.Header.Get("Location"))
	if err != nil || u.Path == "" {
		return "", fmt.Errorf("no Location: %w", err)
	}
	return u.Path, nil
}

// Path is where the object lies.
func (t *tusd) Path(o load.Object) string {
	upload, ok := t.paths.Load(o.Name)
	if name, isString := upload.(string); ok && isString {
		return filepath.Join(t.dir, "uploads", path.Base(name))
	}
	return filepath.Join(t.dir, "uploads", "unknown")
}

package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/slipway-dev/slipway/client"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestListOfObjects(t *testing.T) {
	w := newWorld(t, chunkapi.Config{Store: upload.Name{Namespace: "ml", Name: "models"}})
	c := w.client()
	var want []string
	for i := range 7 {
		name := fmt.Sprint(i)
		w.published(c, name, random(byte(i), i))
		want = append(want, "models/"+name)
	}
	store := c.Store("models")
	var failed atomic.Bool
	fail := func(rw http.ResponseWriter, _ *http.Request) bool { // each page at first
		if failed.Swap(!failed.Load()) {
			return false
		}
		rw.WriteHeader(http.StatusBadGateway)
		return true
	}
	w.before.Store(&fail)
	var got []string
	for one, err := range store.List(t.Context(), client.ListOptions{Prefix: "models/", PageSize: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		info, err := store.Stat(t.Context(), one.Key)
		if err != nil {
			t.Fatal(err)
		}
		if one.SizeBytes != info.SizeBytes || one.Digest != info.Digest || one.ETag != info.ETag ||
			one.ModifiedTime.IsZero() || !one.Published {
			t.Errorf("listed is %+v, and it is %+v", one, info)
		}
		got = append(got, one.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed is %q, want %q", got, want)
	}
	w.before.Store(nil)
	for one, err := range store.List(t.Context(), client.ListOptions{Grouped: true}) {
		if err != nil || one != (client.ObjectInfo{Key: "models/", IsPrefix: true}) {
			t.Errorf("grouped it is %+v, %v", one, err)
		}
	}
	n := 0
	for _, err := range store.List(t.Context(), client.ListOptions{PageSize: 1}) {
		n++
		if n == 2 || err != nil {
			break
		}
	}
	for _, err := range store.List(t.Context(), client.ListOptions{Prefix: "../"}) {
		wantCode(t, "a prefix that no key has", err, client.CodeInvalidQuery)
	}
}

// A dataplane that leads back to the same page is not asked for ever.
func TestAListThatLeadsBack(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	answer := func(rw http.ResponseWriter, _ *http.Request) bool {
		_, err := rw.Write([]byte(`{"objects":[{"key":"a"}],"continue":"again"}`))
		return err == nil
	}
	w.before.Store(&answer)
	n, last := 0, error(nil)
	for _, err := range w.client().Store("models").List(t.Context(), client.ListOptions{}) {
		n, last = n+1, err
	}
	if n != 2 || last == nil || errors.As(last, new(*client.Problem)) {
		t.Errorf("it ends after %d: %v", n, last)
	}
}

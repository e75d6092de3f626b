package chunkapi

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// objectsPath is where the objects of a store are, which outlive their sessions.
const objectsPath = "/v1/namespaces/{namespace}/uploadstores/{store}/objects/"

// listPath is where it is told which there are.
const listPath = "/v1/namespaces/{namespace}/uploadstores/{store}/objects"

// storeOf returns the store that a request is about.
func storeOf(r *http.Request) (upload.Name, error) {
	name, err := namespaceOf(r)
	if err != nil {
		return name, err
	}
	name.Name = r.PathValue("store")
	if len(name.Name) > maxLabel || !isLabel(name.Name) {
		return name, refuse(CodeInvalidName, "the store is not a DNS label: a-z, 0-9 and '-', at most %d characters", maxLabel)
	}
	return name, nil
}

// routeObjects registers what is done to objects by their keys. Nobody is let in by what they may do to
// sessions: an object here is anybody's.
func (a *api) routeObjects() {
	serve := func(w http.ResponseWriter, r *http.Request, c call) error {
		store, err := storeOf(r)
		if err == nil {
			err = a.authorize(r, c, store)
		}
		if err == nil && store != a.store {
			err = fmt.Errorf("%w: %s, and not %s", upload.ErrOtherStore, a.store, store)
		}
		if err != nil {
			return err
		}
		return c.serve(w, r, store)
	}
	a.routeTo(objectsPath+"{key...}", map[string]call{
		http.MethodGet:    {auth.Get, auth.Objects, a.getObject, nil},
		http.MethodDelete: {auth.Delete, auth.Objects, a.removeObject, nil},
	}, serve)
	a.routeTo(listPath, map[string]call{http.MethodGet: {auth.List, auth.Objects, a.listObjects, nil}}, serve)
}

// keyOf returns the key that a request is about. One that no object can have is refused in words of its own.
func keyOf(r *http.Request) (string, error) {
	key := r.PathValue("key")
	if err := session.CheckName(key); err != nil {
		return "", refuse(CodeInvalidKey, "%v", err)
	}
	return key, nil
}

func (a *api) getObject(w http.ResponseWriter, r *http.Request, store upload.Name) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	done, err := a.read(w, r, store)
	if err != nil {
		return err
	}
	defer done()
	object, digest, err := a.uploads.Object(r.Context(), key)
	if err != nil {
		return err
	}
	defer func() { _ = object.Close() }() // it is only read
	a.serveObject(w, r, object, digest, entityTag(object.Identity(), digest))
	return nil
}

func (a *api) removeObject(w http.ResponseWriter, r *http.Request, _ upload.Name) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	condition := r.Header.Values("If-Match")
	err = a.uploads.RemoveObject(r.Context(), key, func(object session.Object, digest upload.Digest) error {
		if tag := entityTag(object.Identity(), digest); len(condition) > 0 && !matches(condition, tag) {
			return refuse(CodePreconditionFailed, "the object has ETag %s", tag)
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// entityTag is the ETag of an object: its digest, as where its session serves it, or what tells it from every other.
func entityTag(identity string, digest upload.Digest) string {
	if digest != "" {
		return fmt.Sprintf("%q", digest)
	}
	return fmt.Sprintf("\"object:%x\"", sha256.Sum256([]byte(identity)))
}

// matches reports whether one of the tags of an If-Match is the tag, or all are meant. Weak ones match none
// (RFC 9110, section 13.1.1). No tag here has a comma in it.
func matches(condition []string, tag string) bool {
	for one := range strings.SplitSeq(strings.Join(condition, ","), ",") {
		if one = strings.TrimSpace(one); one == "*" || one == tag {
			return true
		}
	}
	return false
}

package ticket

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"sigs.k8s.io/json"
)

const (
	// reloadInterval is how often the file is read. New keys are listed an hour before they
	// sign, so that this, and what kubelet takes to bring them, is soon enough.
	reloadInterval = 10 * time.Second
	// keyBytes is how long a key is, as long as the hash (RFC 7518 section 3.2).
	keyBytes   = 32
	maxKeyFile = 64 << 10
	maxKeys    = 64
	maxKeyID   = 64
)

// Keys are the keys of a store, as its file lists them. Its methods may be
// called concurrently, but for Run, which is called once.
type Keys struct {
	path string
	log  *slog.Logger
	set  atomic.Pointer[keySet]
	seen [sha256.Size]byte // of the file that was read last, good or not
}

// key is one key of a store.
type key struct {
	id        string
	secret    []byte
	notBefore time.Time
}

// keySet has the keys by ID.
type keySet map[string]key

// OpenKeys reads the keys of a file, which Run reads again when it changes. The
// log (nil is slog.Default) is told of that, and never of the keys.
func OpenKeys(path string, log *slog.Logger) (*Keys, error) {
	k := &Keys{path: path, log: cmp.Or(log, slog.Default())}
	content, err := k.read()
	if err != nil {
		return nil, err
	}
	set, err := parseKeys(content)
	if err != nil {
		return nil, fmt.Errorf("ticket keys in %s: %w", path, err)
	}
	k.seen = sha256.Sum256(content)
	k.set.Store(&set)
	return k, nil
}

// Run reads the file again when it changes, until the context is done. A file that
// can't be read or understood changes nothing: the keys that were read before stay.
func (k *Keys) Run(ctx context.Context) {
	// Kubelet swaps a symlink two levels above the file. To read a few hundred bytes is simpler
	// than to watch for that, and can't miss it.
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := k.reload()
		if err != nil && !failing {
			k.log.ErrorContext(ctx, "ticket keys can't be read, the old ones stay in use", "error", err)
		}
		failing = err != nil
	}
}

// reload reads the file once. A file that is as it was last time is no news.
func (k *Keys) reload() error {
	content, err := k.read()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	if sum == k.seen {
		return nil
	}
	k.seen = sum
	set, err := parseKeys(content)
	if err != nil {
		k.log.Error("ticket keys are broken, the old ones stay in use", "path", k.path, "error", err)
		return nil
	}
	k.set.Store(&set)
	k.log.Info("ticket keys were read", "path", k.path, "keys", len(set))
	return nil
}

func (k *Keys) read() ([]byte, error) {
	f, err := os.Open(k.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxKeyFile+1))
}

// find returns the key with an ID. Every key that is listed verifies: another
// replica's clock may be ahead.
func (k *Keys) find(id string) (key, bool) {
	found, ok := (*k.set.Load())[id]
	return found, ok
}

// signer returns the newest key that may sign by now.
func (k *Keys) signer(now time.Time) (key, bool) {
	var newest key
	for _, c := range *k.set.Load() {
		if c.notBefore.After(now) {
			continue
		}
		if newest.id == "" || cmp.Or(c.notBefore.Compare(newest.notBefore), cmp.Compare(c.id, newest.id)) > 0 {
			newest = c
		}
	}
	return newest, newest.id != ""
}

// keyFile is what the file has. It follows the type TicketKeys of package
// api/v1alpha1, which whoever writes the file uses.
type keyFile struct {
	Keys []keyEntry `json:"keys"`
}

type keyEntry struct {
	ID string `json:"id"`
	// Key is 32 random bytes in base64.
	Key string `json:"key"`
	// NotBefore is from when on it signs (RFC 3339).
	NotBefore string `json:"notBefore"`
}

// parseKeys reads a file. Its errors say where it is wrong and never what is
// there, since that may be a key.
func parseKeys(content []byte) (keySet, error) {
	if len(content) > maxKeyFile {
		return nil, fmt.Errorf("the file is longer than %d bytes", maxKeyFile)
	}
	var f keyFile
	strict, err := json.UnmarshalStrict(bytes.TrimSpace(content), &f)
	if err != nil || len(strict) > 0 {
		return nil, errors.New(`the file is not JSON of the form {"keys":[{"id":"...","key":"...","notBefore":"..."}]}, each field once and no other`)
	}
	if len(f.Keys) == 0 || len(f.Keys) > maxKeys {
		return nil, fmt.Errorf("the file has %d keys, not from 1 to %d", len(f.Keys), maxKeys)
	}
	set := keySet{}
	for i, entry := range f.Keys {
		parsed, err := parseKey(entry)
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		if _, twice := set[parsed.id]; twice {
			return nil, fmt.Errorf("keys[%d]: another key has the same id", i)
		}
		set[parsed.id] = parsed
	}
	return set, nil
}

func parseKey(e keyEntry) (key, error) {
	if e.ID == "" || len(e.ID) > maxKeyID {
		return key{}, fmt.Errorf("the id is not of 1 to %d bytes", maxKeyID)
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(e.Key)
	if err != nil || len(secret) != keyBytes {
		return key{}, fmt.Errorf("the key is not %d bytes in base64", keyBytes)
	}
	notBefore, err := time.Parse(time.RFC3339, e.NotBefore)
	if err != nil {
		return key{}, errors.New("notBefore is not a time as RFC 3339 has it")
	}
	return key{id: e.ID, secret: secret, notBefore: notBefore}, nil
}

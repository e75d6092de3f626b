package delegated

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

const (
	// maxKnown bounds the tokens that are known, and with them the memory: about 2 KiB for each.
	maxKnown = 4096
	// knownFor is for how long a token stays known after it was last found to be good.
	knownFor = 15 * time.Minute
)

// tokenKey stands for a token, which nothing keeps.
type tokenKey [sha256.Size]byte

// known is the tokens that were found to be good lately, and whose they are. One that was
// made up is never among them, so none of them is forgotten for it. Beyond maxKnown the one that nobody has used
// for longest is forgotten. It may be used concurrently.
type known struct {
	secret []byte

	mu     sync.Mutex
	tokens map[tokenKey]*list.Element // of *holder
	used   *list.List                 // the last that was used is the first
}

// holder is who has a token.
type holder struct {
	key      tokenKey
	caller   auth.Caller
	reviewed time.Time
}

func newKnown() *known {
	k := &known{secret: make([]byte, sha256.Size), tokens: map[tokenKey]*list.Element{}, used: list.New()}
	_, _ = rand.Read(k.secret) // it never fails
	return k
}

func (k *known) key(token string) (key tokenKey) {
	sum := hmac.New(sha256.New, k.secret)
	sum.Write([]byte(token))
	sum.Sum(key[:0])
	return key
}

// look returns who has a token, when it was last reviewed, and whether it is known.
func (k *known) look(key tokenKey, now time.Time) (auth.Caller, time.Time, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.tokens[key]
	if !ok {
		return auth.Caller{}, time.Time{}, false
	}
	h, _ := e.Value.(*holder)
	if now.Sub(h.reviewed) >= knownFor {
		k.drop(e)
		return auth.Caller{}, time.Time{}, false
	}
	k.used.MoveToFront(e)
	return h.caller, h.reviewed, true
}

// keep is told that a token is good.
func (k *known) keep(key tokenKey, caller auth.Caller, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.tokens[key]; ok {
		k.drop(e)
	}
	k.tokens[key] = k.used.PushFront(&holder{key: key, caller: caller, reviewed: now})
	if len(k.tokens) > maxKnown {
		k.drop(k.used.Back())
	}
}

// forget is told that a token is not good.
func (k *known) forget(key tokenKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.tokens[key]; ok {
		k.drop(e)
	}
}

// drop forgets one. It is called with mu held.
func (k *known) drop(e *list.Element) {
	h, _ := k.used.Remove(e).(*holder)
	delete(k.tokens, h.key)
}

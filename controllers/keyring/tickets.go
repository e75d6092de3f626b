package keyring

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

const (
	// keyIDBytes is the length of a key's ID before it is written in hexadecimal.
	keyIDBytes = 8
	// maxAhead is how far ahead a key's notBefore may be. A key beyond it was made by a clock that
	// was wrong, and would keep its successor from being made.
	maxAhead = 2 * v1alpha1.TicketKeyLead
)

// planTickets returns the file of a store's ticket keys as it should be, and
// what is new about it, if anything is.
func planTickets(file []byte, now time.Time, random io.Reader) (after []byte, why string, err error) {
	keys := readKeys(file, now)
	begun := slices.IndexFunc(keys, func(k v1alpha1.TicketKey) bool { return k.NotBefore.After(now) })
	if begun < 0 {
		begun = len(keys)
	}
	switch {
	case begun == 0:
		// Nothing can sign. Nobody has tickets of a store that had no keys.
		first, err := newKey(now.Add(-backdate), random)
		if err != nil {
			return nil, "", err
		}
		keys, why = slices.Insert(keys, 0, first), "a first ticket key"
	case begun == len(keys) && now.Sub(keys[begun-1].NotBefore.Time) >= v1alpha1.TicketKeyInterval-v1alpha1.TicketKeyLead:
		next, err := newKey(now.Add(v1alpha1.TicketKeyLead), random)
		if err != nil {
			return nil, "", err
		}
		keys, why = append(keys, next), "a next ticket key"
	}
	for len(keys) > 1 && now.Sub(keys[1].NotBefore.Time) >= v1alpha1.MaxTicketLifetime+v1alpha1.TicketKeyLead {
		keys = keys[1:]
	}
	after, err = json.Marshal(v1alpha1.TicketKeys{Keys: keys})
	if err != nil {
		return nil, "", fmt.Errorf("encode the ticket keys: %w", err)
	}
	return after, why, nil
}

// readKeys returns the keys that can be used, the oldest first.
func readKeys(file []byte, now time.Time) []v1alpha1.TicketKey {
	var read v1alpha1.TicketKeys
	if json.Unmarshal(file, &read) != nil {
		return nil
	}
	seen := map[string]bool{}
	keys := slices.DeleteFunc(read.Keys, func(k v1alpha1.TicketKey) bool {
		bad := k.ID == "" || seen[k.ID] || len(k.Key) != v1alpha1.TicketKeyBytes || k.NotBefore.IsZero() || k.NotBefore.After(now.Add(maxAhead))
		seen[k.ID] = true
		return bad
	})
	slices.SortStableFunc(keys, func(a, b v1alpha1.TicketKey) int {
		if order := a.NotBefore.Compare(b.NotBefore.Time); order != 0 {
			return order
		}
		return strings.Compare(a.ID, b.ID)
	})
	return keys
}

func newKey(notBefore time.Time, random io.Reader) (v1alpha1.TicketKey, error) {
	var secret [keyIDBytes + v1alpha1.TicketKeyBytes]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return v1alpha1.TicketKey{}, fmt.Errorf("make a ticket key: %w", err)
	}
	return v1alpha1.TicketKey{
		ID:        hex.EncodeToString(secret[:keyIDBytes]),
		Key:       secret[keyIDBytes:],
		NotBefore: metav1.NewTime(nextSecond(notBefore)),
	}, nil
}

package delegated

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

// reviewer is an API server that knows the tokens which begin with "good", and takes its time with those that
// begin with "made-up" until they are let go.
type reviewer struct {
	gone  chan struct{} // closed to let go of made-up tokens
	asked atomic.Int32
	away  atomic.Bool
}

func (a *reviewer) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked.Add(1)
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		return nil, err
	}
	if a.away.Load() {
		time.Sleep(time.Millisecond) // so that all who come at once come before it is over
		return nil, errors.New("nobody answers")
	}
	if strings.HasPrefix(review.Spec.Token, "good") {
		review.Status.Authenticated = true
		review.Status.User.Username = review.Spec.Token
		review.Status.Audiences = review.Spec.Audiences
	} else {
		review.Status.Error = "it is made up"
		select {
		case <-a.gone:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	body, err := json.Marshal(review)
	return &http.Response{
		StatusCode: http.StatusCreated, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}, err
}

// crowd is a gate in front of a reviewer, and requests to it.
type crowd struct {
	*testing.T
	*reviewer
	gate *Gate
}

func newCrowd(t *testing.T) crowd {
	t.Helper()
	a := &reviewer{gone: make(chan struct{})}
	g, err := New(Config{Namespace: "ml", Audience: audience, API: &rest.Config{Host: "http://api", Transport: a, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return crowd{t, a, g}
}

func (c crowd) ask(token, remote string) error {
	r := with(c.Context(), "Bearer "+token)
	r.RemoteAddr = remote
	caller, err := c.gate.Authenticate(r)
	if err == nil && caller.User != token {
		c.Errorf("%s is %q", token, caller.User)
	}
	return err
}

// flood comes with made-up tokens, each from an address of its own that remote makes, and waits until
// they are being reviewed or were refused.
func (c crowd) flood(n int, remote func(i int) string) {
	for i := range n {
		go func() { _ = c.ask(fmt.Sprintf("made-up-%d", i), remote(i)) }()
	}
	synctest.Wait()
}

func everywhere(i int) string { return fmt.Sprintf("10.0.%d.%d:1", i/256, i%256) }

// TestMadeUpTokensKeepNoKnownOneOut: however many are being reviewed, from wherever they come, a token that was good
// lately is reviewed again.
func TestMadeUpTokensKeepNoKnownOneOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		if err := c.ask("good", "10.1.0.1:1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(CacheTTL)
		c.flood(10*maxReviews, everywhere)
		if got := c.asked.Load(); got != 1+maxReviews {
			t.Errorf("the API server was asked %d times, of which %d are made up; want %d", got, got-1, maxReviews)
		}
		if err := c.ask("good", "10.0.0.0:1"); err != nil {
			t.Errorf("who was good a moment ago: %v", err)
		}
		if err := c.ask("good-and-new", "10.1.0.1:1"); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("who is not known yet: %v, want to be told to come again", err)
		}
		close(c.gone)
		synctest.Wait()
		if err := c.ask("good-and-new", "10.1.0.1:1"); err != nil {
			t.Errorf("when the flood is over: %v", err)
		}
		if taken, addresses := c.gate.strangers.taken, len(c.gate.strangers.of); taken != 0 || addresses != 0 {
			t.Errorf("%d places of %d addresses are lost", taken, addresses)
		}
	})
}

// TestOneAddressLeavesRoomForOthers that are not known yet.
func TestOneAddressLeavesRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		c.flood(10*maxReviews, func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", i+1) })
		if err := c.ask("good", "[2001:db8::ffff]:1"); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("from where the flood comes: %v", err)
		}
		if err := c.ask("good", "10.1.0.1:1"); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
		close(c.gone)
	})
}

// TestAnAnswerIsKeptForAWhile, and one question is asked for all who come with one token at once.
func TestAnAnswerIsKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		expect := func(asked int32, want error) {
			t.Helper()
			for range 2 * maxReviews {
				go func() {
					if err := c.ask("good", "10.1.0.1:1"); !errors.Is(err, want) {
						t.Errorf("got %v, want %v", err, want)
					}
				}()
			}
			synctest.Wait()
			time.Sleep(time.Second) // for the questions that are asked again
			if got := c.asked.Load(); got != asked {
				t.Errorf("it was asked %d times, want %d", got, asked)
			}
		}
		expect(1, nil)
		expect(1, nil)
		time.Sleep(CacheTTL)
		expect(2, nil)
		time.Sleep(CacheTTL)
		c.away.Store(true)
		expect(3, auth.ErrUnavailable)
		c.away.Store(false)
		expect(4, nil)
	})
}

// TestWhatIsKnownIsBounded: the one that nobody has used for longest is forgotten, and each after a while.
func TestWhatIsKnownIsBounded(t *testing.T) {
	k, now := newKnown(), time.Now()
	is := func(token string, at time.Time) bool { _, _, ok := k.look(k.key(token), at); return ok }
	k.keep(k.key("first"), auth.Caller{}, now)
	k.keep(k.key("second"), auth.Caller{}, now)
	for i := range maxKnown - 1 {
		if !is("first", now) {
			t.Fatalf("the first is forgotten after %d", i)
		}
		k.keep(k.key(fmt.Sprint(i)), auth.Caller{}, now)
	}
	if len(k.tokens) != maxKnown || k.used.Len() != maxKnown || is("second", now) || !is("first", now) {
		t.Errorf("%d are known, want %d", len(k.tokens), maxKnown)
	}
	k.forget(k.key("0"))
	if is("0", now) || is("first", now.Add(knownFor)) || len(k.tokens) != maxKnown-2 || k.used.Len() != maxKnown-2 {
		t.Errorf("%d are known, want %d", len(k.tokens), maxKnown-2)
	}
}

func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]netip.Addr{
		"10.0.0.1:80": netip.MustParseAddr("10.0.0.1"), "[::ffff:10.0.0.1]:80": netip.MustParseAddr("10.0.0.1"),
		"[2001:db8:1:2:3:4:5:6]:80": netip.MustParseAddr("2001:db8:1:2::"), "[fe80::1%eth0]:80": netip.MustParseAddr("fe80::"),
		"@": {}, "": {}, "x:80": {},
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%q is %v, want %v", remote, got, want)
		}
	}
}

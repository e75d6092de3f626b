package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Whose token a request has.
const (
	TokenNone       = "none"
	TokenDataplane  = "dataplane"  // for the dataplane's audience
	TokenKubernetes = "kubernetes" // for the API server's
)

// kubernetesTokenFile is where every Pod has its token for the API server.
const kubernetesTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// Request is a single request, which is made once: again only where nobody listened.
type Request struct {
	Method string            `json:"method"`
	URL    string            `json:"url"`
	Header map[string]string `json:"header,omitempty"`
	Body   []byte            `json:"body,omitempty"`
	Token  string            `json:"token"`
}

// Calls is the report of single requests, one reply for each.
type Calls struct {
	Replies []Reply `json:"replies"`
}

// Reply is what came back.
type Reply struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
}

// mostOfReply bounds a body, in bytes.
const mostOfReply = 64 << 10

// calling makes single requests.
type calling struct {
	bundle   string
	requests string
}

func (c *calling) register(flags *flag.FlagSet) {
	flags.StringVar(&c.bundle, "ca-bundle", "", "what to trust, in PEM")
	flags.StringVar(&c.requests, "requests", "", "a JSON list of requests")
}

func (c *calling) run(ctx context.Context) (any, error) {
	var requests []Request
	if err := json.Unmarshal([]byte(c.requests), &requests); err != nil {
		return nil, err
	}
	plain, err := trusting([]byte(c.bundle))
	if err != nil {
		return nil, err
	}
	as := map[string]*http.Client{
		TokenNone:       plain,
		TokenDataplane:  withToken(plain, TokenFile),
		TokenKubernetes: withToken(plain, kubernetesTokenFile),
	}
	var report Calls
	for _, r := range requests {
		var reply Reply
		// A Service's address answers a moment after its Pod is ready.
		err := wait.PollUntilContextTimeout(ctx, pause, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			reply, err = call(ctx, as[r.Token], r)
			if errors.Is(err, syscall.ECONNREFUSED) {
				return false, nil
			}
			return true, err
		})
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL, err)
		}
		report.Replies = append(report.Replies, reply)
	}
	return report, nil
}

func call(ctx context.Context, c *http.Client, r Request) (Reply, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return Reply{}, err
	}
	for name, value := range r.Header {
		request.Header.Set(name, value)
	}
	response, err := c.Do(request)
	if err != nil {
		return Reply{}, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	body, err := io.ReadAll(io.LimitReader(response.Body, mostOfReply))
	return Reply{Status: response.StatusCode, Body: string(bytes.TrimSpace(body))}, err
}

package scale

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/bench/internal/contender"
)

// putAtOnce is how many sessions come in one transaction of etcd, which takes 128 at most.
const putAtOnce = 50

// etcdPair is a key and its value in etcd, as its JSON has them.
type etcdPair struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value,omitempty"`
}

// seed puts the rest of the hostile sessions into etcd, each as the first one is there, and waits until the operator
// has looked at all of them, while the neighbour goes on.
func (h *hostile) seed(ctx context.Context) error {
	n := h.options.Sessions - h.options.Created
	if n == 0 {
		return nil
	}
	return h.stage(ctx, "the others come", true, func(s *Stage) error {
		return h.during(ctx, s, func() error {
			before, err := reconciles(ctx, h.operator.metrics)
			if err != nil {
				return err
			}
			if err := h.putAll(ctx, n); err != nil {
				return err
			}
			var looked atomic.Int64
			end := h.watch("hostile sessions looked at", n, func() int { return int(looked.Load()) })
			defer end()
			return wait.PollUntilContextTimeout(ctx, time.Second, drainPatience, true, func(ctx context.Context) (bool, error) {
				now, err := reconciles(ctx, h.operator.metrics)
				looked.Store(int64(now["uploadsession"] - before["uploadsession"]))
				if err != nil || int(looked.Load()) < n {
					return false, err
				}
				families, err := scrape(ctx, http.DefaultClient, h.operator.metrics)
				return gauge(families["workqueue_depth"], "name", "uploadsession") < 10, err
			})
		})
	})
}

func (h *hostile) putAll(ctx context.Context, n int) error {
	first := hostileName("s", 0)
	prefix := "/registry/" + v1alpha1.GroupVersion.Group + "/uploadsessions/" + hostileNamespace + "/"
	var found struct {
		Pairs []etcdPair `json:"kvs"`
	}
	if err := h.etcd3(ctx, "range", etcdPair{Key: []byte(prefix + first)}, &found); err != nil {
		return err
	}
	if len(found.Pairs) != 1 {
		return errors.New("the first hostile session is not in etcd")
	}
	model := found.Pairs[0].Value
	var kept struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(model, &kept); err != nil {
		return fmt.Errorf("a session in etcd: %w", err)
	}
	pace := rate.NewLimiter(rate.Limit(h.options.CreatesPerSecond), putAtOnce)
	var done atomic.Int64
	end := h.watch("hostile sessions put into etcd", n, func() int { return int(done.Load()) })
	defer end()
	return contender.Parallel((n+putAtOnce-1)/putAtOnce, 4, func(batch int) error {
		type put struct {
			Put etcdPair `json:"requestPut"`
		}
		var puts struct {
			Success []put `json:"success"`
		}
		for i := batch * putAtOnce; i < min(n, (batch+1)*putAtOnce); i++ {
			name := hostileName("s", h.options.Created+i)
			value := bytes.ReplaceAll(model, []byte(first), []byte(name))
			value = bytes.ReplaceAll(value, []byte(kept.Metadata.UID), []byte(uuid.NewUUID()))
			puts.Success = append(puts.Success, put{etcdPair{Key: []byte(prefix + name), Value: value}})
		}
		if err := pace.WaitN(ctx, len(puts.Success)); err != nil {
			return err
		}
		defer done.Add(int64(len(puts.Success)))
		return h.etcd3(ctx, "txn", puts, &struct{}{})
	})
}

// etcd3 calls etcd.
func (h *hostile) etcd3(ctx context.Context, call string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	url := strings.TrimRight(h.plane.EtcdURL(), "/") + "/v3/kv/" + call
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd: %s: %s: %s", call, response.Status, text)
	}
	return json.Unmarshal(text, out)
}

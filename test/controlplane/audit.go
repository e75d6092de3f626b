package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// auditPolicy logs each write once, when its response is complete, and no read.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

// A Write is one successful create, update, patch or delete, as the API server
// logged it. A patch that changed nothing is one too, although etcd saw nothing
// of it: a count of these is never too low.
type Write struct {
	User        string
	Verb        string
	Resource    string
	Subresource string
	Namespace   string
	Name        string
	// Time is when it was answered.
	Time time.Time
}

// A Filter selects writes. An empty field selects all.
type Filter struct {
	User      string
	Resource  string
	Namespace string
	Name      string
}

// Matches reports whether the filter selects the write.
func (f Filter) Matches(w Write) bool {
	matches := func(want, got string) bool { return want == "" || want == got }
	return matches(f.User, w.User) && matches(f.Resource, w.Resource) &&
		matches(f.Namespace, w.Namespace) && matches(f.Name, w.Name)
}

// A Writer is a user and what they did.
type Writer struct {
	User string
	Verb string
}

// CountByWriter counts writes per user and verb.
func CountByWriter(writes []Write) map[Writer]int {
	counts := map[Writer]int{}
	for _, w := range writes {
		counts[Writer{User: w.User, Verb: w.Verb}]++
	}
	return counts
}

// Writes lists the successful writes that the filter selects, in the order in
// which they were answered. It includes every write that was answered before
// the call.
func (c *ControlPlane) Writes(ctx context.Context, filter Filter) ([]Write, error) {
	if err := c.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("wait for the audit log: %w", err)
	}
	events, err := c.auditEvents()
	if err != nil {
		return nil, err
	}
	var writes []Write
	for _, event := range events {
		if w := event.write(); event.succeeded() && filter.Matches(w) {
			writes = append(writes, w)
		}
	}
	return writes, nil
}

// catchUp waits until the log holds a mark that it makes itself: the refused
// deletion of an object that never was.
func (c *ControlPlane) catchUp(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	mark := "audit-mark-" + rand.String(10)
	err = client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Delete(ctx, mark, metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("the mark was not refused: %w", err)
	}
	return wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		events, err := c.auditEvents()
		for _, event := range events {
			if event.ObjectRef.Name == mark {
				return true, nil
			}
		}
		return false, err
	})
}

// auditEvent is what is read of an Event of audit.k8s.io/v1.
type auditEvent struct {
	Stage string `json:"stage"`
	Verb  string `json:"verb"`
	User  struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	StageTimestamp metav1.MicroTime `json:"stageTimestamp"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

func (e auditEvent) succeeded() bool {
	return e.Stage == "ResponseComplete" && e.ResponseStatus.Code >= 200 && e.ResponseStatus.Code < 300
}

func (e auditEvent) write() Write {
	return Write{
		User:        e.User.Username,
		Verb:        e.Verb,
		Resource:    e.ObjectRef.Resource,
		Subresource: e.ObjectRef.Subresource,
		Namespace:   e.ObjectRef.Namespace,
		Name:        e.ObjectRef.Name,
		Time:        e.StageTimestamp.Time,
	}
}

func (c *ControlPlane) auditEvents() ([]auditEvent, error) {
	file, err := os.Open(auditLog(c.dir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return parseAudit(file)
}

// parseAudit reads a log of one JSON event a line. A last line without its end
// is still being written and is left for the next reader.
func parseAudit(log io.Reader) ([]auditEvent, error) {
	var events []auditEvent
	for lines := bufio.NewReader(log); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var event auditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		events = append(events, event)
	}
}

func auditLog(dir string) string { return filepath.Join(dir, "audit.log") }

func enableAudit(env *envtest.Environment, dir string) error {
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	env.ControlPlane.GetAPIServer().Configure().
		Set("audit-policy-file", policy).
		Set("audit-log-path", auditLog(dir)).
		// Megabytes before the log is rotated, which would lose count.
		Set("audit-log-maxsize", "4096")
	return nil
}

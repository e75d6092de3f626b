package cluster

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func aStatus(changes ...func(*upload.Status)) upload.Status {
	st := upload.Status{
		Grant: upload.Grant{ID: "uid-1", Name: upload.Name{Namespace: "ml", Name: "weights"}, Key: "llama/model.gguf", Size: 25, ChunkSize: 10},
		Meta: session.Meta{
			ID: "uid-1", Spec: session.Spec{Size: 25, ChunkSize: 10}, State: session.Open,
			HeldChunks: 2, HeldBytes: 20, LastActivity: noon.Add(1500 * time.Millisecond),
		},
	}
	for _, change := range changes {
		change(&st)
	}
	return st
}

func endedAs(state session.State, result upload.Result) func(*upload.Status) {
	return func(st *upload.Status) {
		st.Meta.State, st.Meta.Settled, st.Meta.Ended, st.Result = state, true, noon.Add(2*time.Second), &result
		if state == session.Finished {
			st.Meta.HeldChunks, st.Meta.HeldBytes = 3, 25
		}
	}
}

func empty(st *upload.Status) {
	st.Grant.Size, st.Meta.Spec.Size = 0, 0
	st.Meta.HeldChunks, st.Meta.HeldBytes, st.Meta.LastActivity = 0, 0, time.Time{}
}

const (
	head     = `{"kind":"UploadSession","apiVersion":"uploads.slipway.dev/v1alpha1","metadata":{"name":"weights","namespace":"ml","resourceVersion":"42"},"status":`
	halfway  = `"progress":{"receivedBytes":20,"receivedChunks":2,"totalChunks":3,"percent":80,"lastActivityTime":"2026-11-23T12:00:01Z"}`
	complete = `"progress":{"receivedBytes":25,"receivedChunks":3,"totalChunks":3,"percent":100,"lastActivityTime":"2026-11-23T12:00:01Z"}`
)

func TestStatusIsTheUploadsShadow(t *testing.T) {
	published := upload.Result{Reason: upload.Published, Digest: sum, Published: noon.Add(1999 * time.Millisecond)}
	for name, c := range map[string]struct {
		status upload.Status
		want   string // of what is applied
	}{
		"half way": {aStatus(), `{` + halfway + `}`},
		"before the first chunk": {
			aStatus(func(st *upload.Status) {
				st.Meta.HeldChunks, st.Meta.HeldBytes, st.Meta.LastActivity = 0, 0, time.Time{}
			}),
			`{"progress":{"receivedBytes":0,"receivedChunks":0,"totalChunks":3,"percent":0}}`,
		},
		"rounded down": {
			aStatus(func(st *upload.Status) { st.Meta.Spec.Size, st.Meta.HeldBytes = 1000, 999 }),
			`{"progress":{"receivedBytes":999,"receivedChunks":2,"totalChunks":100,"percent":99,"lastActivityTime":"2026-11-23T12:00:01Z"}}`,
		},
		"as large as can be": {
			aStatus(func(st *upload.Status) {
				st.Meta.Spec = session.Spec{Size: session.MaxSize, ChunkSize: session.MaxSize}
				st.Meta.HeldChunks, st.Meta.HeldBytes = 1, session.MaxSize
			}),
			`{"progress":{"receivedBytes":140737488355328,"receivedChunks":1,"totalChunks":1,"percent":100,"lastActivityTime":"2026-11-23T12:00:01Z"}}`,
		},
		"published, in one write": {
			aStatus(endedAs(session.Finished, published)),
			`{` + complete + `,"result":{"outcome":"Published","reason":"Published","key":"llama/model.gguf","sizeBytes":25,` +
				`"digest":"` + sum + `","publishedTime":"2026-11-23T12:00:01Z","finishedTime":"2026-11-23T12:00:02Z"}}`,
		},
		"published and empty": {
			aStatus(empty, endedAs(session.Finished, published), func(st *upload.Status) { st.Meta.HeldChunks, st.Meta.HeldBytes = 0, 0 }),
			`{"progress":{"receivedBytes":0,"receivedChunks":0,"totalChunks":0,"percent":100},` +
				`"result":{"outcome":"Published","reason":"Published","key":"llama/model.gguf","sizeBytes":0,` +
				`"digest":"` + sum + `","publishedTime":"2026-11-23T12:00:01Z","finishedTime":"2026-11-23T12:00:02Z"}}`,
		},
		"empty and failed": {
			aStatus(empty, endedAs(session.Failed, upload.Result{Reason: upload.KeyExists, Message: "choose another key"})),
			`{"progress":{"receivedBytes":0,"receivedChunks":0,"totalChunks":0,"percent":0},` +
				`"result":{"outcome":"Failed","reason":"KeyExists","message":"choose another key","finishedTime":"2026-11-23T12:00:02Z"}}`,
		},
		"cancelled": {
			aStatus(endedAs(session.Aborted, upload.Result{Reason: upload.Cancelled, Message: "desiredState is Cancelled"})),
			`{` + halfway + `,"result":{"outcome":"Aborted","reason":"Cancelled","message":"desiredState is Cancelled","finishedTime":"2026-11-23T12:00:02Z"}}`,
		},
		"expired": {
			aStatus(endedAs(session.Expired, upload.Result{Reason: upload.IdleTimeout})),
			`{` + halfway + `,"result":{"outcome":"Expired","reason":"IdleTimeout","finishedTime":"2026-11-23T12:00:02Z"}}`,
		},
		"ended, while staged bytes are left": {
			aStatus(endedAs(session.Aborted, upload.Result{Reason: upload.Cancelled}), func(st *upload.Status) { st.Meta.Settled = false }),
			`{` + halfway + `}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(shadowOf(c.status).configuration(aSession()))
			if err != nil || string(got) != head+c.want+`}` {
				t.Errorf("got  %s, %v\nwant %s}", got, err, head+c.want)
			}
		})
	}
}

func TestAnUploadThatNeverBeganIsReportedToo(t *testing.T) {
	e := ending{upload.Deleted, "gone"}
	result := `"result":{"outcome":"Aborted","reason":"Deleted","message":"gone","finishedTime":"2026-11-23T12:00:00Z"}`
	for name, c := range map[string]struct {
		session *v1alpha1.UploadSession
		want    string
	}{
		"without progress":        {aSession(), `{` + result + `}`},
		"progress stays as it is": {aSession(showing(aStatus())), `{` + halfway + `,` + result + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(shadowOfUnbegun(c.session, v1alpha1.UploadOutcomeAborted, e, noon).configuration(c.session))
			if err != nil || string(got) != head+c.want+`}` {
				t.Errorf("got  %s, %v\nwant %s}", got, err, head+c.want)
			}
		})
	}
}

// showing makes a session show what it should of an upload, as it comes back
// from the API server.
func showing(st upload.Status) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) {
		b, err := json.Marshal(shadowOf(st).configuration(s).Status)
		if err != nil {
			panic(err)
		}
		admission := s.Status.Admission
		if err := json.Unmarshal(b, &s.Status); err != nil {
			panic(err)
		}
		s.Status.Admission = admission
	}
}

func TestWhatIsNews(t *testing.T) {
	done := aStatus(endedAs(session.Finished, upload.Result{Reason: upload.Published, Digest: sum, Published: noon}))
	for name, c := range map[string]struct {
		session *v1alpha1.UploadSession
		status  upload.Status
		want    news
	}{
		"the first chunks": {aSession(), aStatus(), progressed},
		"an upload that nobody has sent to": {
			aSession(), aStatus(func(st *upload.Status) { st.Meta.HeldChunks, st.Meta.HeldBytes = 0, 0 }), nothing,
		},
		"what is shown already":  {aSession(showing(aStatus())), aStatus(), nothing},
		"another chunk":          {aSession(showing(aStatus())), aStatus(func(st *upload.Status) { st.Meta.HeldChunks++ }), progressed},
		"fractions of a second":  {aSession(showing(aStatus())), aStatus(func(st *upload.Status) { st.Meta.LastActivity = noon.Add(1900 * time.Millisecond) }), nothing},
		"a volume that was lost": {aSession(showing(aStatus())), aStatus(func(st *upload.Status) { st.Meta.HeldChunks, st.Meta.HeldBytes = 0, 0 }), progressed},
		"the end":                {aSession(showing(aStatus())), done, ended},
		"an end that is shown":   {aSession(showing(done)), done, nothing},
		"another end than shown": {
			aSession(showing(done)), aStatus(endedAs(session.Aborted, upload.Result{Reason: upload.Cancelled})), nothing,
		},
	} {
		if got := newsIn(c.session.Status, shadowOf(c.status)); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	for message, want := range map[string]int{
		"short":                         5,
		strings.Repeat("x", 1024):       1024,
		strings.Repeat("x", 1025):       1024,
		strings.Repeat("x", 1023) + "é": 1023,
		strings.Repeat("€", 400):        1023,
	} {
		if got := bounded(message); len(got) != want || !utf8.ValidString(got) || !strings.HasPrefix(message, got) {
			t.Errorf("%d bytes: got %d bytes, want %d", len(message), len(got), want)
		}
	}
}

func TestEveryOutcomeHasItsState(t *testing.T) {
	for _, outcome := range []v1alpha1.UploadOutcome{
		v1alpha1.UploadOutcomePublished, v1alpha1.UploadOutcomeFailed, v1alpha1.UploadOutcomeAborted, v1alpha1.UploadOutcomeExpired,
	} {
		if got := outcomeOf(stateOf(outcome)); got != outcome {
			t.Errorf("%s: got %s", outcome, got)
		}
	}
	if got := ptr.To(stateOf("")); *got != session.Aborted {
		t.Errorf("without a result: got %s", *got)
	}
}

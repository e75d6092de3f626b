package controlplane

import (
	"strings"
	"testing"
)

func TestParseAudit(t *testing.T) {
	const whole = `{"stage":"ResponseComplete","verb":"patch","user":{"username":"u"},` +
		`"objectRef":{"resource":"r","subresource":"status","namespace":"n","name":"o"},"responseStatus":{"code":200}}` + "\n"

	events, err := parseAudit(strings.NewReader(whole + "\n" + whole[:20]))
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 {
		t.Fatalf("want the one whole line, got %v", events)
	}
	want := Write{User: "u", Verb: "patch", Resource: "r", Subresource: "status", Namespace: "n", Name: "o"}
	if got := events[0].write(); got != want || !events[0].succeeded() {
		t.Errorf("want %v, got %v", want, got)
	}

	if _, err := parseAudit(strings.NewReader("no JSON\n")); err == nil {
		t.Error("a line that is no event was not refused")
	}
}

func TestOnlyAnsweredWritesCount(t *testing.T) {
	for _, test := range []struct {
		stage string
		code  int
		want  bool
	}{
		{"ResponseComplete", 200, true},
		{"ResponseComplete", 201, true},
		{"ResponseComplete", 409, false},
		{"Panic", 200, false},
	} {
		event := auditEvent{Stage: test.stage}
		event.ResponseStatus.Code = test.code
		if got := event.succeeded(); got != test.want {
			t.Errorf("%s %d: want %v, got %v", test.stage, test.code, test.want, got)
		}
	}
}

package controlplane

import (
	"strings"
	"testing"
	"time"
)

func TestParseAudit(t *testing.T) {
	const whole = `{"stage":"ResponseComplete","verb":"patch","user":{"username":"u"},` +
		`"objectRef":{"resource":"r","subresource":"status","namespace":"n","name":"o"},"responseStatus":{"code":200},"stageTimestamp":"2026-11-23T12:00:00.250000Z"}` + "\n"

	events, err := parseAudit(strings.NewReader(whole + "\n" + whole[:20]))
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 {
		t.Fatalf("want the one whole line, got %v", events)
	}
	want := Write{User: "u", Verb: "patch", Resource: "r", Subresource: "status", Namespace: "n", Name: "o", Time: time.Date(2026, 11, 23, 12, 0, 0, 250e6, time.UTC)}
	got := events[0].write()
	got.Time = got.Time.UTC() // it is read in the zone of the machine
	if got != want || !events[0].succeeded() {
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

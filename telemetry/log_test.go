package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-logr/logr"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                                 "",
		"models/a b/\u00e9\ufffd\u8239":    "models/a b/\u00e9\ufffd\u8239",
		"a\u009b31mb":                      `a\u009b31mb`,
		"a\x1b[31mb\n":                     `a\x1b[31mb\n`,
		"a\u2028b\u202eb\u200b":            `a\u2028b\u202eb\u200b`,
		"a\xe9b":                           `a\xe9b`,
		strings.Repeat("a", 21):            "aaaaaaaaaaaaaaaaaaaa... (21 bytes)",
		strings.Repeat("\u00e9", 11) + "a": strings.Repeat("\u00e9", 10) + "... (23 bytes)",
		"a" + strings.Repeat("\u00e9", 10): "a" + strings.Repeat("\u00e9", 9) + "... (21 bytes)",
	} {
		if got := Plain(s, 20); got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\u009b31mb\xe9", 5)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = 1 + max(most, -most-1)%1000
		got := Plain(s, most)
		if !isPlain(got) || len(got) > 10*most+40 || len(s) <= most && isPlain(s) && got != s {
			t.Errorf("%q is %q", s, got)
		}
	})
}

// texts is a value with a text that only its form shows.
type texts struct{ A []string }

// TestLinesArePlain: whatever a value is, and wherever it comes from, it neither commands a terminal nor fills the disk.
func TestLinesArePlain(t *testing.T) {
	t.Parallel()
	const evil = "x\u009b2J\u202e\u2028\xff"
	long := strings.Repeat("a", 32<<10)
	for name, log := range map[string]func(l *slog.Logger){
		"a message":       func(l *slog.Logger) { l.Info(evil + long) },
		"a text":          func(l *slog.Logger) { l.Info("m", "a", evil, "b", long) },
		"an error":        func(l *slog.Logger) { l.Info("m", "a", errors.New(evil+long)) },
		"texts":           func(l *slog.Logger) { l.Info("m", "a", []string{evil, long}) },
		"another value":   func(l *slog.Logger) { l.Info("m", "a", texts{[]string{evil, long}}) },
		"one of a group":  func(l *slog.Logger) { l.Info("m", slog.Group("g", "a", evil, "b", long)) },
		"one from before": func(l *slog.Logger) { l.With("a", evil, "b", long).WithGroup("g").Info("m") },
		"one through logr": func(l *slog.Logger) {
			logr.FromSlogHandler(l.Handler()).WithValues("a", evil).Error(errors.New(long), "m", "b", long)
		},
	} {
		var asText, asJSON bytes.Buffer
		log(slog.New(Handler(slog.NewTextHandler(&asText, nil))))
		log(slog.New(Handler(slog.NewJSONHandler(&asJSON, nil))))
		for _, line := range []string{asText.String(), asJSON.String()} {
			if line = strings.TrimSuffix(line, "\n"); line == "" || !isPlain(line) || len(line) > 8<<10 {
				t.Errorf("%s: %d bytes: %.300q", name, len(line), line)
			}
		}
	}
	var kept bytes.Buffer
	slog.New(Handler(slog.NewJSONHandler(&kept, nil))).Info("m", "a", texts{[]string{"b"}}, "n", nil, "d", time.Second)
	if want := `"a":{"A":["b"]},"n":null,"d":1000000000`; !strings.Contains(kept.String(), want) {
		t.Errorf("what is plain was changed: %s", &kept)
	}
}

// TestLinesAreLimitedInRate, each place in the code for itself, and information is not.
func TestLinesAreLimitedInRate(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	h := Handler(slog.NewTextHandler(&lines, nil)).WithAttrs([]slog.Attr{slog.String("a", "b")})
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	say := func(pc uintptr, level slog.Level, message string) string {
		lines.Reset()
		if err := h.Handle(t.Context(), slog.NewRecord(now, level, message, pc)); err != nil {
			t.Fatal(err)
		}
		return lines.String()
	}
	flood := func(pc uintptr, level slog.Level) (said int) {
		for i := range 10 * throttleBurst {
			if say(pc, level, fmt.Sprintf("made up %d", i)) != "" {
				said++
			}
		}
		return said
	}
	expect := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d lines, want %d", what, got, want)
		}
	}
	expect("a flood of warnings", flood(1, slog.LevelWarn), throttleBurst)
	expect("a flood of errors elsewhere", flood(2, slog.LevelError), throttleBurst)
	expect("a flood of information", flood(1, slog.LevelInfo), 10*throttleBurst)
	now = now.Add(throttleEvery)
	if got := say(1, slog.LevelWarn, "m"); !strings.Contains(got, fmt.Sprintf("suppressed=%d", 9*throttleBurst)) {
		t.Errorf("a second later: %q", got)
	}
	if got := say(1, slog.LevelWarn, "m"); got != "" {
		t.Errorf("and then: %q", got)
	}
	now = now.Add(-time.Hour)
	expect("when the clock was set back", flood(1, slog.LevelWarn), throttleBurst)
	now = now.Add(2 * time.Hour)
	expect("after a long time", flood(1, slog.LevelWarn), throttleBurst)
	for i := range uintptr(2 * maxPlaces) {
		say(3+i, slog.LevelWarn, "m")
	}
	said := 0
	for i := range uintptr(throttleBurst) {
		if say(9999+i, slog.LevelWarn, "m") != "" {
			said++
		}
	}
	expect("a place more than are told apart", said, 0)
	if !utf8.ValidString(lines.String()) {
		t.Errorf("%q", lines.String())
	}
}

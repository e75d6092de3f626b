package telemetry

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What a value may have of bytes in a line of the log.
const (
	maxValue = 512
	maxError = 2 << 10
	maxStack = 64 << 10
)

// Plain is a text as it may be shown on a terminal: what is not printable is
// escaped as Go has it, so that no text makes a terminal obey, begins a line or
// turns the direction of what comes after it; of one that is longer than most bytes, the beginning is
// left, and how much there is. A text that is plain stays as it is.
func Plain(s string, most int) string {
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return Plain(s[:cut], most) + fmt.Sprintf("... (%d bytes)", len(s))
	}
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		s = s[size:]
	}
	return b.String()
}

func isPlain(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// plainAttr makes all texts in an attribute plain. A stack keeps its lines.
func plainAttr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		if a.Key == "stack" {
			return slog.String(a.Key, v.String()[:min(len(v.String()), maxStack)])
		}
		return slog.String(a.Key, Plain(v.String(), maxValue))
	case slog.KindGroup:
		group := make([]slog.Attr, len(v.Group()))
		for i, each := range v.Group() {
			group[i] = plainAttr(each)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(group...)}
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return slog.String(a.Key, Plain(err.Error(), maxError))
		}
		// What is no text is written as JSON or as %+v, by the handler's choice: neither may show anything else.
		for _, text := range []string{asJSON(v.Any()), fmt.Sprintf("%+v", v.Any())} {
			if len(text) > maxError || !isPlain(text) {
				return slog.String(a.Key, Plain(text, maxError))
			}
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}

// asJSON is a value as JSON, empty where it has no such form.
func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

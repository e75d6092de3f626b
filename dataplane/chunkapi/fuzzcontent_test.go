package chunkapi

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzContent: whatever ranges and conditions a client sends, it gets the whole
// object, or just the bytes that the answer says it has, or a problem that fits.
func FuzzContent(f *testing.F) {
	data := []byte("0123456789")
	etag := fmt.Sprintf("%q", digestOf(data))
	for _, seed := range []struct{ ranges, ifRange, ifMatch, ifNoneMatch, since string }{
		{},
		{ranges: "bytes=0-0"},
		{ranges: "bytes=-1"},
		{ranges: "bytes=9-"},
		{ranges: "bytes=-0"},
		{ranges: "bytes=-0,0-1"},
		{ranges: "bytes=-00, -0"},
		{ranges: "bytes=0-1,-0"},
		{ranges: "bytes=0-1,3-4"},
		{ranges: "bytes=0-,0-"},
		{ranges: "bytes=1-0"},
		{ranges: "bytes=9223372036854775807-"},
		{ranges: "bytes=0-9223372036854775808"},
		{ranges: "bytes=,"},
		{ranges: "bytes= 1 - 2 "},
		{ranges: "bytes=0-1", ifRange: etag},
		{ranges: "bytes=0-1", ifRange: "W/" + etag},
		{ranges: "bytes=0-1", ifRange: "Thu, 01 Jan 1970 00:00:00 GMT"},
		{ifMatch: "*"},
		{ifMatch: etag + `, "x"`},
		{ifMatch: `"`},
		{ifNoneMatch: "*"},
		{ifNoneMatch: "W/" + etag},
		{since: "Fri, 01 Jan 2100 00:00:00 GMT"},
	} {
		f.Add(seed.ranges, seed.ifRange, seed.ifMatch, seed.ifNoneMatch, seed.since)
	}
	w := newWorld(f, options{})
	publish(w, "ended", data)
	f.Fuzz(func(t *testing.T, ranges, ifRange, ifMatch, ifNoneMatch, since string) {
		r := httptest.NewRequest(http.MethodGet, base("ended")+"/content", http.NoBody).WithContext(t.Context())
		for name, value := range map[string]string{"Range": ranges, "If-Range": ifRange, "If-Match": ifMatch, "If-None-Match": ifNoneMatch, "If-Modified-Since": since} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		recorder := httptest.NewRecorder()
		w.handler.ServeHTTP(recorder, r)
		body, h := recorder.Body.Bytes(), recorder.Header()
		switch recorder.Code {
		case http.StatusOK:
			if !bytes.Equal(body, data) || ifMatch != "" && !strings.Contains(ifMatch, "*") && !strings.Contains(ifMatch, etag) {
				t.Errorf("the whole is %q with If-Match %q", body, ifMatch)
			}
		case http.StatusPartialContent:
			if ranges == "" || ifRange != "" && ifRange != etag && !isDate(ifRange) {
				t.Errorf("Range %q and If-Range %q get a part", ranges, ifRange)
			}
			if media, params, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && media == "multipart/byteranges" {
				wantParts(t, body, params["boundary"], data)
			} else {
				wantPart(t, h.Get("Content-Range"), body, data)
			}
		case http.StatusNotModified:
			if len(body) > 0 || ifNoneMatch == "" && since == "" {
				t.Errorf("not modified, with %q", body)
			}
		case http.StatusPreconditionFailed:
			wantKind(t, recorder, CodePreconditionFailed)
		case http.StatusRequestedRangeNotSatisfiable:
			wantKind(t, recorder, CodeInvalidRange)
		default:
			t.Errorf("%d: %s", recorder.Code, body)
		}
	})
}

func isDate(s string) bool {
	_, err := http.ParseTime(s)
	return err == nil
}

// wantParts wants parts that are what they say and come to no more than the whole.
func wantParts(t *testing.T, body []byte, boundary string, data []byte) {
	t.Helper()
	sum, parts := 0, multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err == io.EOF { //nolint:errorlint // as multipart has it
			break
		}
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		b, err := io.ReadAll(part)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		wantPart(t, part.Header.Get("Content-Range"), b, data)
		sum += len(b)
	}
	if sum == 0 || sum > len(data) {
		t.Errorf("%d bytes in parts of %d", sum, len(data))
	}
}

func wantPart(t *testing.T, contentRange string, body, data []byte) {
	t.Helper()
	var first, last, size int
	if n, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &size); n != 3 || err != nil || size != len(data) || first < 0 || first > last || last >= size {
		t.Fatalf("Content-Range is %q of %d bytes", contentRange, len(data))
	}
	if !bytes.Equal(body, data[first:last+1]) {
		t.Errorf("%s is %q", contentRange, body)
	}
}

// wantKind wants a problem of one code, as the table has it.
func wantKind(t *testing.T, recorder *httptest.ResponseRecorder, codes ...Code) {
	t.Helper()
	if got := recorder.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%d %s: %s", recorder.Code, got, recorder.Body)
		return
	}
	p := decode[Problem](t, recorder.Body.Bytes())
	for _, k := range kinds() {
		if k.code == p.Code && k.status == p.Status && k.title == p.Title && p.Status == recorder.Code && p.Next == k.next && p.Type == typePrefix+string(p.Code) {
			for _, code := range codes {
				if p.Code == code {
					return
				}
			}
			if len(codes) == 0 {
				return
			}
		}
	}
	t.Errorf("%d is no problem of the table, or not of %v: %s", recorder.Code, codes, recorder.Body)
}

// FuzzPrefer: nobody waits for less than nothing or for longer than anybody may.
func FuzzPrefer(f *testing.F) {
	for _, seed := range []string{"", "wait", "wait=", "wait=10", `wait="10"`, "wait=-1", "wait=+1", "wait=4294967296", "wait=99999999999999999999", "respond-async, WAIT = 5 ; x=y", "wait=1,wait=2", "wait=1e3", "wait=0x10", ",,;=", "a=wait=3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		wait, ok := preferredWait(http.Header{"Prefer": {field}})
		if ok && (wait < 0 || wait > maxPreferredSeconds*time.Second || wait%time.Second != 0) {
			t.Errorf("%q: %v, %v", field, wait, ok)
		}
		if ok && !strings.Contains(strings.ToLower(field), "wait") && !strings.ContainsRune(field, '\u017f') {
			t.Errorf("%q asks for no wait", field)
		}
	})
}

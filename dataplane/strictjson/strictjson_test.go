package strictjson_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/strictjson"
)

type spec struct {
	Key      string            `json:"key"`
	Size     int64             `json:"sizeBytes"`
	Seconds  *int32            `json:"seconds"`
	Verbs    []string          `json:"verbs"`
	Labels   map[string]string `json:"labels"`
	StoreRef struct {
		Name string `json:"name"`
	} `json:"storeRef"`
}

// TestWholeNumbers are read however they are written, as the API server reads them.
func TestWholeNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"4920000000": 4920000000, "4.92e9": 4920000000, "10.0": 10, "1E1": 10, "-0.0": 0, "-3e0": -3,
		"9007199254740991.0": 1<<53 - 1, "9223372036854775807": 1<<63 - 1,
	} {
		var got spec
		sent, err := strictjson.Unmarshal([]byte(`{"key": "a", "sizeBytes": `+text+`}`), &got)
		if err != nil || got.Size != want {
			t.Errorf("%s is read as %d, %v", text, got.Size, err)
		}
		if !reflect.DeepEqual(sent, map[string]any{"key": "a", "sizeBytes": want}) {
			t.Errorf("%s is sent on as %v", text, sent)
		}
	}
}

// TestWhatIsWrong is said in one line, and in no words of Go.
func TestWhatIsWrong(t *testing.T) {
	for body, want := range map[string]string{
		``:                                `it is not JSON from byte 0 on`,
		`{`:                               `it is not JSON from byte 1 on`,
		`{} {}`:                           `it is not JSON from byte 4 on`,
		`{"key": "a" "b"}`:                `it is not JSON from byte 13 on`,
		`null`:                            `it is null`,
		`[]`:                              `it is an array, and must be an object`,
		`"key"`:                           `it is a string, and must be an object`,
		`3`:                               `it is a number, and must be an object`,
		`{"kye": "a"}`:                    `unknown field "kye"`,
		`{"Key": "a"}`:                    `unknown field "Key"`,
		`{"key": "a", "key": "a"}`:        `duplicate field "key"`,
		`{"key": "a", "key": 1, "x": 2}`:  `key is a number, and must be a string`,
		`{"x": 1, "key": "a", "key": ""}`: `duplicate field "key"; unknown field "x"`,
		`{"labels": {"a": 1}}`:            `labels is a number, and must be a string`,
		`{"labels": {"a": "", "a": ""}}`:  `duplicate field "labels.a"`,
		`{"verbs": "get"}`:                `verbs is a string, and must be an array`,
		`{"storeRef": "models"}`:          `storeRef is a string, and must be an object`,
		`{"storeRef": {"name": []}}`:      `storeRef.name is an array, and must be a string`,
		`{"sizeBytes": "10"}`:             `sizeBytes is a string, and must be a whole number of at most 9223372036854775807`,
		`{"sizeBytes": true}`:             `sizeBytes is a boolean, and must be a whole number of at most 9223372036854775807`,
		`{"sizeBytes": 1.5}`:              `sizeBytes is 1.5, and must be a whole number of at most 9223372036854775807`,
		`{"seconds": 9999999999}`:         `seconds is 9999999999, and must be a whole number of at most 2147483647`,
		`{"sizeBytes": 9.3e18}`:           `sizeBytes is 9.3e+18, which is too large`,
		`{"sizeBytes": 1e400}`:            `the number 1e400 is too large`,
		"{\"key\": \"\xe9\"}":             `it is not valid UTF-8, as JSON must be`,
	} {
		var got spec
		sent, err := strictjson.Unmarshal([]byte(body), &got)
		if err == nil || sent != nil || err.Error() != want {
			t.Errorf("%s: %v, %v; want %s", body, sent, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "unmarshal") {
			t.Errorf("%s: the error is in words of Go: %v", body, err)
		}
	}
}

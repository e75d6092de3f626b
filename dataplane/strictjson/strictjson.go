package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	kjson "sigs.k8s.io/json"
)

// maxExact bounds the numbers that are read where they are written with a point or an exponent: beyond it two of
// them may be one.
const maxExact = 1<<53 - 1

// Unmarshal reads a JSON object into a struct, whose fields have no numbers but whole ones, and returns the object
// as it was sent, with its numbers as int64. An error says in one line what is wrong with it.
func Unmarshal(body []byte, into any) (sent map[string]any, err error) {
	if !utf8.Valid(body) { // every decoder here would put other text in its place
		return nil, errors.New("it is not valid UTF-8, as JSON must be")
	}
	twice, err := kjson.UnmarshalStrict(body, &sent)
	if err == nil && sent == nil {
		err = errors.New("it is null")
	}
	var unknown []error
	if err == nil {
		unknown, err = unmarshalWhole(sent, into)
	}
	if err == nil {
		err = errors.Join(append(twice, unknown...)...)
	}
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(inWords(err), "\n", "; "))
	}
	return sent, nil
}

func unmarshalWhole(sent map[string]any, into any) (unknown []error, err error) {
	if err := makeWhole("", sent); err != nil {
		return nil, err
	}
	b, err := json.Marshal(sent)
	if err != nil {
		return nil, err
	}
	return kjson.UnmarshalStrict(b, into)
}

// makeWhole makes 4920000000 and 10 of 4.92e9 and 10.0, as the API server does, in all fields of objects. Numbers
// that are not whole stay.
func makeWhole(path string, object map[string]any) error {
	for name, value := range object {
		switch value := value.(type) {
		case map[string]any:
			if err := makeWhole(path+name+".", value); err != nil {
				return err
			}
		case float64:
			if value != math.Trunc(value) {
				continue
			}
			if math.Abs(value) > maxExact {
				return fmt.Errorf("%s is %s, which is too large", path+name, strconv.FormatFloat(value, 'g', -1, 64))
			}
			object[name] = int64(value)
		}
	}
	return nil
}

// inWords says what is wrong in the words of JSON, not in those of Go.
func inWords(err error) string {
	if is, at := kjson.SyntaxErrorOffset(err); is {
		return fmt.Sprintf("it is not JSON from byte %d on", at)
	}
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err.Error()
	}
	number, isNumber := strings.CutPrefix(wrong.Value, "number ")
	if isNumber && wrong.Type.Kind() == reflect.Float64 { // of a field that is not looked at yet
		return fmt.Sprintf("the number %s is too large", number)
	}
	field := wrong.Field
	if field == "" {
		field = "it"
	}
	return fmt.Sprintf("%s is %s, and must be %s", field, valueInWords(wrong.Value), typeInWords(wrong.Type))
}

// valueInWords is what JSON calls a value that Go calls so.
func valueInWords(value string) string {
	switch value {
	case "string", "number":
		return "a " + value
	case "object", "array":
		return "an " + value
	case "bool":
		return "a boolean"
	default:
		return strings.TrimPrefix(value, "number ")
	}
}

// typeInWords is what JSON calls the values that a field takes.
func typeInWords(t reflect.Type) string {
	switch t.Kind() { //nolint:exhaustive // the others are objects
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Int32:
		return fmt.Sprintf("a whole number of at most %d", math.MaxInt32)
	case reflect.Int, reflect.Int64:
		return fmt.Sprintf("a whole number of at most %d", int64(math.MaxInt64))
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}

package chunkapi

import (
	"net/http"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// As Kubernetes bounds the names of namespaces and of most objects.
const (
	maxLabel     = 63
	maxSubdomain = 253
)

// nameOf returns the upload that a request is about.
func nameOf(r *http.Request) (upload.Name, error) {
	name, err := namespaceOf(r)
	if err != nil {
		return name, err
	}
	name.Name = r.PathValue("name")
	if len(name.Name) > maxSubdomain {
		return name, refuse(CodeInvalidName, "the name is longer than %d characters", maxSubdomain)
	}
	for label := range strings.SplitSeq(name.Name, ".") {
		if !isLabel(label) {
			return name, refuse(CodeInvalidName, "the name is not a DNS subdomain: a-z, 0-9, '-' and '.', each part beginning and ending with a letter or digit")
		}
	}
	return name, nil
}

// namespaceOf returns the namespace that a request is about, as a Name without a name.
func namespaceOf(r *http.Request) (upload.Name, error) {
	name := upload.Name{Namespace: r.PathValue("namespace")}
	if len(name.Namespace) > maxLabel || !isLabel(name.Namespace) {
		return name, refuse(CodeInvalidName, "the namespace is not a DNS label: a-z, 0-9 and '-', at most %d characters", maxLabel)
	}
	return name, nil
}

// isLabel reports whether s is a DNS label, but for its length.
func isLabel(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && !isAlphanumeric(c) {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-'
}

// isAlphanumeric reports whether c is a lower-case letter or a digit.
func isAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

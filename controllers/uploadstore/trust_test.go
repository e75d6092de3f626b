package uploadstore

import (
	"bytes"
	"encoding/pem"
	"testing"
)

// block is a certificate for whoever does not look into it.
func block(content byte, size int) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: bytes.Repeat([]byte{content}, size)})
}

func TestReplicasAreTrustedTogether(t *testing.T) {
	a, b, c, huge := block('a', 10), block('b', 10), block('c', 10), block('h', maxCABundle)
	for name, test := range map[string]struct{ bundle, more, want []byte }{
		"nothing":               {nil, nil, nil},
		"the first":             {nil, a, a},
		"the same again":        {bytes.Join([][]byte{a, b}, nil), bytes.Join([][]byte{b, a}, nil), bytes.Join([][]byte{a, b}, nil)},
		"one more":              {bytes.Join([][]byte{a, b}, nil), bytes.Join([][]byte{b, c}, nil), bytes.Join([][]byte{a, b, c}, nil)},
		"what has no room":      {a, bytes.Join([][]byte{huge, b}, nil), bytes.Join([][]byte{a, b}, nil)},
		"one that says nothing": {a, nil, a},
	} {
		if got := trust(test.bundle, test.more); !bytes.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

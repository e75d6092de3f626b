package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/uploader"
)

// refusals shows four things that Slipway does not do: let strangers in, take bytes that are
// not what they should be, mix the bytes of two chunks, and write over an object.
func (t *teller) refusals(ctx context.Context) error {
	t.say("Four refusals")
	if err := t.applySession(ctx, "refused", "refused/file", "sha256:"+strings.Repeat("0", 64), 2*t.ChunkSize); err != nil {
		return err
	}
	if _, err := t.show(ctx, "wait", "--for=condition=Admitted", "upl/refused", "--timeout=30s"); err != nil {
		return err
	}
	u := t.uploader("refused", nil)
	chunk := bytes.Repeat([]byte("slipway "), int(t.ChunkSize)/8)
	other := bytes.Repeat([]byte("SLIPWAY "), int(t.ChunkSize)/8)

	stranger := t.uploader("refused", nil)
	stranger.Token = ""
	if err := t.expect("a chunk from somebody without a token", stranger.PutBytes(ctx, 0, chunk), 401, chunkapi.CodeUnauthenticated); err != nil {
		return err
	}
	wrong := u.PutChunk(ctx, 0, io.NewSectionReader(bytes.NewReader(chunk), 0, int64(len(chunk))), make([]byte, 32))
	if err := t.expect("a chunk whose bytes do not have its digest", wrong, 422, chunkapi.CodeDigestMismatch); err != nil {
		return err
	}
	if err := u.PutBytes(ctx, 0, chunk); err != nil {
		return fmt.Errorf("the right chunk after a wrong one: %w", err)
	}
	if err := u.PutBytes(ctx, 0, chunk); err != nil {
		return fmt.Errorf("the same chunk again: %w", err)
	}
	if err := t.expect("other bytes for a chunk that is held", u.PutBytes(ctx, 0, other), 409, chunkapi.CodeChunkConflict); err != nil {
		return err
	}
	return t.refuseKey(ctx)
}

// refuseKey creates a second session for the key that is published already.
func (t *teller) refuseKey(ctx context.Context) error {
	const name = "same-key"
	key := "bin/" + t.base()
	if err := t.applySession(ctx, name, key, t.sum, t.size); err != nil {
		return err
	}
	if _, err := t.show(ctx, "wait", "--for=condition=Succeeded=False", "upl/"+name, "--timeout=30s"); err != nil {
		return err
	}
	if err := t.expect("a chunk for a key that exists", t.uploader(name, nil).PutBytes(ctx, 0, make([]byte, t.ChunkSize)), 409, chunkapi.CodeKeyExists); err != nil {
		return err
	}
	out, err := t.show(ctx, "get", "upl", name)
	if err != nil {
		return err
	}
	if !strings.Contains(out, "KeyExists") {
		return errors.New("kubectl does not show KeyExists")
	}
	return t.adoptKey(ctx, key)
}

// adoptKey creates a third session for the key, of the same content, which is published without a byte.
func (t *teller) adoptKey(ctx context.Context, key string) error {
	const name = "same-content"
	if err := t.applySession(ctx, name, key, t.sum, t.size, "conflictPolicy: Adopt"); err != nil {
		return err
	}
	if _, err := t.show(ctx, "wait", "--for=condition=Succeeded", "upl/"+name, "--timeout=30s"); err != nil {
		return err
	}
	out, err := t.show(ctx, "get", "upl", name, "--output=wide")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "Adopted") || !strings.Contains(out, t.sum) {
		return errors.New("kubectl does not show that the object was adopted, and its digest")
	}
	return nil
}

// expect prints a refusal and fails unless it is the one that should come.
func (t *teller) expect(what string, err error, status int, code chunkapi.Code) error {
	var p *uploader.Refusal
	if !errors.As(err, &p) || p.Status != status || p.Code != code {
		return fmt.Errorf("%s: got %w, want %d %s", what, err, status, code)
	}
	fmt.Fprintf(t.Out, "Refused: %s\n  %s\n  %s\n", what, p, p.Next)
	return nil
}

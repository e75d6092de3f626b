package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	. "github.com/onsi/ginkgo/v2"
)

// try runs kubectl, which finds the cluster as the suite does, and returns what it prints.
func try(ctx context.Context, args ...string) (string, error) {
	return tryWith(ctx, "", args...)
}

// tryWith gives it an input too.
func tryWith(ctx context.Context, input string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, settings.kubectl, args...)
	command.Stdin = strings.NewReader(input)
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, complaints.String())
	}
	return out.String(), nil
}

// kubectl is try that must succeed.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	out, err := try(ctx, args...)
	if err != nil {
		Fail(err.Error())
	}
	return out
}

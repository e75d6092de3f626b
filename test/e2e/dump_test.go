package e2e_test

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
)

// dumpIfFailed adds to the report of a spec that failed what somebody would look at: the
// namespace, its events and logs, and the operator's log.
func (s *space) dumpIfFailed(ctx context.Context) {
	if !CurrentSpecReport().Failed() {
		return
	}
	var dump strings.Builder
	show := func(args ...string) string {
		out, err := try(ctx, args...)
		fmt.Fprintf(&dump, "$ kubectl %s\n%s", strings.Join(args, " "), out)
		if err != nil {
			fmt.Fprintln(&dump, err)
		}
		return out
	}
	in := func(namespace string, args ...string) []string {
		return append([]string{"--namespace", namespace}, args...)
	}
	show("get", "nodes", "--output=wide")
	for _, namespace := range []string{systemNamespace, s.name} {
		show(in(namespace, "get", "all,pvc,lease", "--output=wide")...)
		show(in(namespace, "get", "events", "--sort-by=.lastTimestamp")...)
	}
	show(in(s.name, "get", "upl,upst,upq", "--output=wide")...)
	show(in(s.name, "describe", "upl,upst,upq,pods")...)
	for _, namespace := range []string{systemNamespace, s.name} {
		for _, pod := range strings.Fields(show(in(namespace, "get", "pods", "--output=name")...)) {
			show(in(namespace, "logs", pod, "--all-containers", "--prefix", "--tail=150")...)
			show(in(namespace, "logs", pod, "--all-containers", "--prefix", "--tail=50", "--previous")...)
		}
	}
	AddReportEntry("What was there when it failed", dump.String(), ReportEntryVisibilityFailureOrVerbose)
}

package e2e_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
)

// How long each spec took, with its cleanup, and what became of it; the last line is for scripts.
var _ = ReportAfterSuite("timings", func(report Report) {
	var table strings.Builder
	var passed, failed, skipped int
	specs := slices.SortedFunc(slices.Values(report.SpecReports), func(a, b SpecReport) int { return cmp.Compare(b.RunTime, a.RunTime) })
	for _, spec := range specs {
		if spec.State == types.SpecStateSkipped && spec.RunTime == 0 {
			continue // filtered out
		}
		fmt.Fprintf(&table, "e2e: %4d s  %-8s %s\n", spec.RunTime/time.Second, spec.State, cmp.Or(spec.FullText(), spec.LeafNodeType.String()))
		if spec.LeafNodeType != types.NodeTypeIt {
			continue
		}
		switch spec.State {
		case types.SpecStatePassed:
			passed++
		case types.SpecStateSkipped:
			skipped++
			fmt.Fprintf(&table, "e2e: NOT TESTED here: %s\n", spec.Failure.Message)
		default:
			failed++
		}
	}
	fmt.Printf("\n%se2e: passed=%d failed=%d skipped=%d seconds=%d\n", table.String(), passed, failed, skipped, report.RunTime/time.Second)
})

package admission

import (
	"fmt"
	"testing"
)

// BenchmarkRestart is a new leader's first look at sessions that wait behind
// one limit: each is asked about once. The time for each session must not grow
// with their number.
func BenchmarkRestart(b *testing.B) {
	for _, owners := range []int{1, 100, 0} { // 0: each session has its own
		for _, waiting := range []int{1000, 4000, 16000} {
			b.Run(fmt.Sprintf("owners=%d/waiting=%d", owners, waiting), func(b *testing.B) {
				of := func(i int) string {
					if owners > 0 {
						i %= owners
					}
					return fmt.Sprint("owner-", i)
				}
				d := newDesk(store(1000, "a"))
				d.SetQuota(quota("team", activeOfOwner(5)))
				d.SetQuota(quota("slots", active(1), bytes(500)))
				d.comes("holds", "", "models", 1)
				d.starts("holds")
				for i := range waiting {
					d.comes(fmt.Sprintf("%05d", i), of(i), "models", 1)
				}
				for b.Loop() {
					for i := range waiting {
						d.Ask(d.sessions[fmt.Sprintf("%05d", i)], noon)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*waiting), "ns/session")
			})
		}
	}
}

package main

import (
	"runtime/debug"
	"testing"
)

func TestTheCollectorKnowsTheContainersLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, test := range []struct {
		name, limit, own string
		want             int64
		fails            bool
	}{
		{name: "nothing is said", want: before},
		{name: "the container has a limit", limit: "536870912", want: 483183819},
		{name: "GOMEMLIMIT comes first", limit: "536870912", own: "1GiB", want: before},
		{name: "no number", limit: "512Mi", want: before, fails: true},
		{name: "nothing at all", limit: "0", want: before, fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			debug.SetMemoryLimit(before)
			t.Setenv("GOMEMLIMIT", test.own)
			t.Setenv(memoryLimitVariable, test.limit)
			if err := limitMemory(); (err != nil) != test.fails {
				t.Errorf("error %v", err)
			}
			if got := debug.SetMemoryLimit(-1); got != test.want {
				t.Errorf("the limit is %d, want %d", got, test.want)
			}
		})
	}
}

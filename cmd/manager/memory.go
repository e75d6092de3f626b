package main

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
)

// memoryLimitVariable holds the memory limit of the container in bytes, decimal. The Deployment fills it in from the
// container's own resources, so that the two belong together whatever they are set to.
const memoryLimitVariable = "MEMORY_LIMIT_BYTES"

// limitMemory lets the collector work harder before the kernel ends the process: its goal is nine tenths of the
// container's limit; the rest is for what the collector does not count. GOMEMLIMIT, where it is set, holds instead.
func limitMemory() error {
	value := os.Getenv(memoryLimitVariable)
	if value == "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	limit, err := strconv.ParseInt(value, 10, 64)
	if err != nil || limit <= 0 || limit == math.MaxInt64 {
		return fmt.Errorf("%s is %q, which is no number of bytes: set it to the container's memory limit, or remove it", memoryLimitVariable, value)
	}
	debug.SetMemoryLimit(limit / 10 * 9)
	return nil
}

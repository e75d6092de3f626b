// Command micro runs the benchmarks of bench/micro and prints, group by group,
// how fast each was and how that compares with the fastest of its group.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// line is one benchmark, the fastest of its repetitions.
type line struct {
	group, name string
	nanoseconds float64
	throughput  float64 // MB/s; 0 where it has none
}

func main() {
	pattern := flag.String("bench", ".", "the benchmarks to run, as of go test")
	count := flag.Int("count", 3, "how often each is run; the fastest counts")
	benchtime := flag.String("benchtime", "300ms", "how long each run takes")
	flag.Parse()
	if err := compare(*pattern, *count, *benchtime); err != nil {
		fmt.Fprintln(os.Stderr, "micro:", err)
		os.Exit(1)
	}
}

func compare(pattern string, count int, benchtime string) error {
	command := exec.Command("go", "test", "-run", "^$", "-bench", pattern,
		"-count", strconv.Itoa(count), "-benchtime", benchtime, "github.com/slipway-dev/slipway/bench/micro")
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	var lines []*line
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		got, ok := parse(scanner.Text())
		if !ok {
			if strings.Contains(scanner.Text(), "FAIL") || strings.HasPrefix(scanner.Text(), "    ") {
				fmt.Fprintln(os.Stderr, scanner.Text())
			}
			continue
		}
		at := slices.IndexFunc(lines, func(l *line) bool { return l.group == got.group && l.name == got.name })
		switch {
		case at < 0:
			fmt.Fprint(os.Stderr, ".")
			lines = append(lines, &got)
		case got.nanoseconds < lines[at].nanoseconds:
			*lines[at] = got
		}
	}
	fmt.Fprintln(os.Stderr)
	if err := command.Wait(); err != nil {
		return err
	}
	return show(lines)
}

// parse reads a line such as "BenchmarkX/a/b-2  10  123 ns/op  45 MB/s".
func parse(text string) (line, bool) {
	fields := strings.Fields(text)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") || fields[3] != "ns/op" {
		return line{}, false
	}
	name := strings.TrimPrefix(fields[0], "Benchmark")
	if at := strings.LastIndexByte(name, '-'); at > 0 {
		if _, err := strconv.Atoi(name[at+1:]); err == nil {
			name = name[:at]
		}
	}
	l := line{name: name}
	l.group, l.name, _ = strings.Cut(name, "/")
	var err error
	if l.nanoseconds, err = strconv.ParseFloat(fields[2], 64); err != nil {
		return line{}, false
	}
	if len(fields) > 5 && fields[5] == "MB/s" {
		l.throughput, _ = strconv.ParseFloat(fields[4], 64)
	}
	return l, true
}

func show(lines []*line) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	group := ""
	for _, l := range lines {
		if l.group != group {
			group = l.group
			fmt.Fprintf(w, "\n%s\ttime\tMiB/s\tof the best\n", group)
		}
		best := 0.0
		for _, other := range lines {
			if other.group == group {
				best = math.Max(best, other.throughput)
			}
		}
		fmt.Fprintf(w, "  %s\t%s\t%.0f\t%.2f\n", l.name, human(l.nanoseconds), l.throughput*1e6/(1<<20), l.throughput/math.Max(best, 1e-9))
	}
	return w.Flush()
}

func human(nanoseconds float64) string {
	if nanoseconds < 1e6 {
		return fmt.Sprintf("%.0f us", nanoseconds/1e3)
	}
	return fmt.Sprintf("%.2f ms", nanoseconds/1e6)
}

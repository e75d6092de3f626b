// Command demo tells the main job of Slipway with real processes on loopback;
// with --keep it leaves them running. Run it as `make demo` or `make run`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/slipway-dev/slipway/test/story"
)

func main() {
	keep := flag.Bool("keep", false, "leave the processes running, and print what to play with")
	file := flag.String("file", "", "the file to upload; the kube-apiserver binary where empty")
	bin := flag.String("bin", "bin", "the folder with the manager and the dataplane")
	successor := flag.String("successor", "", "the dataplane that takes over from the one that was killed; the same where empty")
	audience := flag.String("audience", "",
		"what all dataplanes are told to take tokens for; what they take by themselves where empty")
	earlier := flag.String("earlier", "", "the repository of an earlier version that is upgraded; none where empty")
	flag.Parse()
	options := story.Options{
		Root: ".", Binaries: *bin, Successor: *successor, Audience: *audience, File: *file, Earlier: *earlier,
		Out: os.Stdout, Terminal: isTerminal(os.Stdout),
	}
	if err := run(*keep, options); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

func run(keep bool, options story.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tell, began := story.Tell, time.Now()
	if keep {
		tell = story.Run
	}
	if err := tell(ctx, options); err != nil {
		return err
	}
	if !keep {
		fmt.Printf("\nEverything was as it should be, in %.0f s.\n", time.Since(began).Seconds())
	}
	return nil
}

// isTerminal reports whether a line written to the file can be written over.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

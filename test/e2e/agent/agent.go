package agent

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

// messageFile is where the kubelet looks for a container's termination message.
const messageFile = "/dev/termination-log"

// TokenFile is where the suite's Pods mount a token for the dataplane.
const TokenFile = "/var/run/secrets/slipway/token"

// command is one thing that the agent does. Its flags are set when it runs.
type command interface {
	register(flags *flag.FlagSet)
	run(ctx context.Context) (report any, err error)
}

func commands() map[string]command {
	return map[string]command{
		"upload": &uploading{},
		"read":   &reading{},
		"list":   &listing{},
		"fill":   &filling{},
		"remove": &removing{},
		"call":   &calling{},
		"pause":  pausing{},
	}
}

// Main runs the command that args name, with its flags. Its report is the line that it
// prints, which alone begins with a brace; why it failed is the container's termination message.
func Main(ctx context.Context, args []string) error {
	if len(args) == 0 || commands()[args[0]] == nil {
		return fmt.Errorf("name a command of the agent, not %q", args)
	}
	c := commands()[args[0]]
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	c.register(flags)
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	report, err := c.run(ctx)
	if err != nil {
		return errors.Join(err, os.WriteFile(messageFile, []byte(err.Error()), 0o600))
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// pausing does nothing until it is told to end.
type pausing struct{}

func (pausing) register(*flag.FlagSet) {}

func (pausing) run(ctx context.Context) (any, error) {
	<-ctx.Done()
	return struct{}{}, nil
}

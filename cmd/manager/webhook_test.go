package main

import (
	"flag"
	"strings"
	"testing"
)

func TestWebhookFlags(t *testing.T) {
	for _, test := range []struct {
		name  string
		args  []string
		image string
		says  string
	}{
		{name: "no webhook", image: "a"},
		{name: "nothing to inject", args: []string{"--webhook-port=9443"}, says: "--dataplane-image is empty"},
		{name: "not a Pod", args: []string{"--webhook-port=9443"}, image: "a", says: "--webhook-namespace is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var o webhookOptions
			flags := flag.NewFlagSet("manager", flag.ContinueOnError)
			o.register(flags)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			// What is refused, or not asked for, does not come to the manager.
			err := o.setup(nil, test.image)
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("error %v, want %q", err, test.says)
			}
		})
	}
}

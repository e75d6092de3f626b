package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func parse(t *testing.T, args ...string) (options, error) {
	t.Helper()
	var o options
	flags := flag.NewFlagSet("dataplane", flag.ContinueOnError)
	o.register(flags)
	all := append([]string{"--root=/data", "--namespace=ml", "--store=models", "--insecure-no-auth"}, args...)
	if err := flags.Parse(all); err != nil {
		t.Fatal(err)
	}
	err := o.complete(func() (string, error) { return "somewhere", nil })
	return o, err
}

func TestDefaults(t *testing.T) {
	o, err := parse(t)
	if err != nil || o.replica != "models-0" || o.listen != "127.0.0.1:8090" {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestTheReplicaIsNamedAfterItsPod(t *testing.T) {
	for host, want := range map[string]string{
		"models-3": "models-3", "models": "models-0", "modelsx-1": "models-0", "laptop": "models-0",
	} {
		if got := defaultReplica("models", func() (string, error) { return host, nil }); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
	if got := defaultReplica("models", func() (string, error) { return "", errors.New("no name") }); got != "models-0" {
		t.Errorf("got %s", got)
	}
}

func TestTokensAreForTheStoreAlone(t *testing.T) {
	for flag, want := range map[string]string{
		"--audience=":      "uploads.slipway.dev/ml/models",
		"--log-level=INFO": "uploads.slipway.dev/ml/models",
		"--audience=ml":    "ml",
	} {
		if o, err := parse(t, flag); err != nil || o.audience != want {
			t.Errorf("%s: got %q, %v, want %q", flag, o.audience, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"without a volume":            {[]string{"--root="}, "--root is missing"},
		"without a namespace":         {[]string{"--namespace="}, "--namespace is"},
		"a store that is no label":    {[]string{"--store=a.b"}, "--store is"},
		"a replica that is no label":  {[]string{"--replica=A"}, "--replica is"},
		"without authentication":      {[]string{"--insecure-no-auth=false"}, "--tls-dir is missing"},
		"every address":               {[]string{"--listen=:8090"}, "loopback"},
		"every address, spelled out":  {[]string{"--listen=0.0.0.0:8090"}, "loopback"},
		"every address of version 6":  {[]string{"--listen=[::]:8090"}, "loopback"},
		"an address of the network":   {[]string{"--listen=192.0.2.1:8090"}, "loopback"},
		"an address without a port":   {[]string{"--listen=127.0.0.1"}, "--listen"},
		"an endpoint that is no URL":  {[]string{"--advertise-url=models:80"}, "--advertise-url"},
		"profiles for everybody":      {[]string{"--pprof-address=:6060"}, "--pprof-address can't be used: \":6060\" is not a loopback address"},
		"too few connections":         {[]string{"--max-connections=7"}, "--max-connections is 7, which is not from 8 to 1048576"},
		"no chunk at a time":          {[]string{"--max-concurrent-chunks=0"}, "--max-concurrent-chunks is 0, which is not from 1 to 4096"},
		"too many chunks at a time":   {[]string{"--max-concurrent-chunks=4097"}, "--max-concurrent-chunks is 4097, which is not from 1 to 4096"},
		"less than none of a session": {[]string{"--max-concurrent-chunks-per-session=-1"}, "--max-concurrent-chunks-per-session is -1, which is negative"},
		"more of a session than of all": {
			[]string{"--max-concurrent-chunks=8", "--max-concurrent-chunks-per-session=9"},
			"--max-concurrent-chunks-per-session is 9, more than --max-concurrent-chunks, which is 8",
		},
		"no progress at all":          {[]string{"--progress-writes-per-second=0"}, "--progress-writes-per-second is 0, which is not from 0.01 to 1000"},
		"too much progress":           {[]string{"--progress-writes-per-second=1001"}, "--progress-writes-per-second is 1001"},
		"progress that is no number":  {[]string{"--progress-writes-per-second=NaN"}, "--progress-writes-per-second is NaN"},
		"a log that nobody can write": {[]string{"--log-format=xml"}, "--log-format"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(t, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestLimitsAreLetIn(t *testing.T) {
	for _, args := range [][]string{
		{"--max-concurrent-chunks=1"},
		{"--progress-writes-per-second=0.01"},
		{"--progress-writes-per-second=1000"},
		{"--max-concurrent-chunks=4096"},
		{"--max-concurrent-chunks=8", "--max-concurrent-chunks-per-session=8"},
		{"--max-concurrent-chunks=8", "--max-concurrent-chunks-per-session=1"},
	} {
		if _, err := parse(t, args...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestLoopbackIsLetIn(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:8090", "127.0.0.2:8090", "localhost:8090"} {
		if _, err := parse(t, "--listen="+listen); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/cluster"
	"github.com/slipway-dev/slipway/dataplane/door"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/telemetry"
)

// options are what the flags set. The flag --kubeconfig is controller-runtime's own.
type options struct {
	root        string
	trustSyncfs bool

	namespace string
	store     string
	storeUID  string
	replica   string

	listen        string
	advertiseURL  string
	healthAddress string
	pprofAddress  string

	maxConcurrentChunks           int
	maxConcurrentChunksPerSession int
	maxConnections                int

	progressWritesPerSecond float64

	ticketOptions

	tlsDir         string
	audience       string
	insecureNoAuth bool
	shutdownGrace  time.Duration

	logFormat string
	logLevel  slog.Level
}

// mostChunks is the most that --max-concurrent-chunks can be: with one block
// for each of them that takes 1 GiB.
const mostChunks = 1 << 30 / session.DefaultBlockSize

// The bounds of --max-connections.
const (
	leastConnections = 8
	mostConnections  = 1 << 20
)

// The bounds of --progress-writes-per-second.
const (
	leastProgressWrites = 0.01
	mostProgressWrites  = 1000
)

func (o *options) register(flags *flag.FlagSet) {
	flags.StringVar(&o.root, "root", "", "the directory where the volume is mounted")
	flags.BoolVar(&o.trustSyncfs, "trust-syncfs", false, "rely on syncfs of the volume's filesystem although it is neither ext4 nor XFS on Linux 5.8 or later, "+
		"so that many small uploads at once share their syncs. Where it does nothing, as on most FUSE filesystems, a loss of power takes acknowledged bytes")
	flags.StringVar(&o.namespace, "namespace", "", "the namespace of the UploadStore")
	flags.StringVar(&o.store, "store", "", "the name of the UploadStore")
	flags.StringVar(&o.storeUID, "store-uid", "", "the UID of the UploadStore, so that the Lease of this replica goes with the store; the Lease stays when empty")
	flags.StringVar(&o.replica, "replica", "", "the name of this replica, unique in the namespace; "+
		"the host's name where that begins with the store's name and a dash, else <store>-0, when empty")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8090", "where chunks are taken; port 0 takes any port that is free")
	flags.StringVar(&o.advertiseURL, "advertise-url", "", "the base URL under which clients reach --listen; https://<listen> (http without --tls-dir) when empty")
	flags.StringVar(&o.healthAddress, "health-address", "127.0.0.1:8091", "where /healthz, /readyz and /metrics are served over plain HTTP")
	flags.StringVar(&o.pprofAddress, "pprof-address", "", "where /debug/pprof/ is served over plain HTTP, a loopback address; nowhere when empty")
	flags.IntVar(&o.maxConcurrentChunks, "max-concurrent-chunks", chunkapi.DefaultMaxConcurrentChunks, fmt.Sprintf("how many chunks are received at once, from 1 to %d; "+
		"memory grows with it. For each of them %d more may wait for their turn, which goes round the sessions; whoever comes beyond that is told to come again",
		mostChunks, chunkapi.WaitersPerChunk))
	flags.IntVar(&o.maxConcurrentChunksPerSession, "max-concurrent-chunks-per-session", 0, "how many of them may be of one session, "+
		"at most --max-concurrent-chunks; three quarters of that when 0")
	flags.IntVar(&o.maxConnections, "max-connections", door.DefaultMaxConnections, fmt.Sprintf("how many connections to --listen may be open at once, from %d to %d; "+
		"at most --max-concurrent-chunks of them speak HTTP/2. Beyond that one gives way on which nobody is served "+
		"whose credentials hold", leastConnections, mostConnections))
	flags.Float64Var(&o.progressWritesPerSecond, "progress-writes-per-second", cluster.DefaultProgressWritesPerSecond,
		fmt.Sprintf("how often the progress of all sessions together is written to the API server at most, from %g to %d; "+
			"how an upload ended is written at once and does not count", leastProgressWrites, mostProgressWrites))
	o.ticketOptions.register(flags)
	flags.BoolVar(&o.insecureNoAuth, "insecure-no-auth", false, "let everybody who reaches --listen, which must be a loopback address, "+
		"read and write every session, over plain HTTP unless --tls-dir is given; to try things out")
	flags.StringVar(&o.tlsDir, "tls-dir", "", "the folder with tls.crt and tls.key, and ca.crt where clients are to be told what to trust, as a mounted Secret; "+
		"they are read again when they change")
	flags.StringVar(&o.audience, "audience", "", "what the tokens of clients must have been issued for; uploads.slipway.dev/<namespace>/<store> when empty. "+
		"Whoever sees a token can show it to every dataplane with the same audience")
	flags.DurationVar(&o.shutdownGrace, "shutdown-grace", 30*time.Second, "how long what is in flight may take to end after SIGTERM")
	flags.StringVar(&o.logFormat, "log-format", "json", "how the log is written: text or json")
	flags.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "the least level that is logged: DEBUG, INFO, WARN or ERROR")
}

// complete fills in what follows from other options, and says all that is wrong.
func (o *options) complete(hostname func() (string, error)) error {
	if o.replica == "" {
		o.replica = defaultReplica(o.store, hostname)
	}
	if o.audience == "" {
		o.audience = v1alpha1.TokenAudience(o.namespace, o.store)
	}
	var errs []error
	refuse := func(flagName, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--"+flagName+" "+format, args...))
	}
	if o.root == "" {
		refuse("root", "is missing")
	}
	for flagName, value := range map[string]string{"namespace": o.namespace, "store": o.store, "replica": o.replica} {
		if why := validation.IsDNS1123Label(value); len(why) > 0 {
			refuse(flagName, "is %q: %s", value, strings.Join(why, "; "))
		}
	}
	if o.advertiseURL != "" {
		if u, err := url.Parse(o.advertiseURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			refuse("advertise-url", "is %q, which is not an HTTP URL", o.advertiseURL)
		}
		o.advertiseURL = strings.TrimRight(o.advertiseURL, "/")
	}
	if o.maxConcurrentChunks < 1 || o.maxConcurrentChunks > mostChunks {
		refuse("max-concurrent-chunks", "is %d, which is not from 1 to %d", o.maxConcurrentChunks, mostChunks)
	} else if o.maxConcurrentChunksPerSession > o.maxConcurrentChunks {
		refuse("max-concurrent-chunks-per-session", "is %d, more than --max-concurrent-chunks, which is %d", o.maxConcurrentChunksPerSession, o.maxConcurrentChunks)
	}
	if o.maxConcurrentChunksPerSession < 0 {
		refuse("max-concurrent-chunks-per-session", "is %d, which is negative", o.maxConcurrentChunksPerSession)
	}
	if o.maxConnections < leastConnections || o.maxConnections > mostConnections {
		refuse("max-connections", "is %d, which is not from %d to %d", o.maxConnections, leastConnections, mostConnections)
	}
	if p := o.progressWritesPerSecond; p < leastProgressWrites || p > mostProgressWrites || math.IsNaN(p) {
		refuse("progress-writes-per-second", "is %g, which is not from %g to %d", p, leastProgressWrites, mostProgressWrites)
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		refuse("log-format", "is %q, which is neither text nor json", o.logFormat)
	}
	var err error
	if o.pprofAddress, err = telemetry.CheckLoopback(o.pprofAddress); err != nil {
		refuse("pprof-address", "can't be used: %w", err)
	}
	if err := o.ticketOptions.check(); err != nil {
		errs = append(errs, err)
	}
	if err := o.checkAuth(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkAuth refuses to serve strangers.
func (o *options) checkAuth() error {
	if !o.insecureNoAuth {
		if o.tlsDir == "" {
			return errors.New("--tls-dir is missing: tokens are taken over TLS only; to try things out, --insecure-no-auth lets everybody in who reaches --listen, a loopback address")
		}
		return nil
	}
	address, err := net.ResolveTCPAddr("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if !address.IP.IsLoopback() {
		return fmt.Errorf("--listen is %q: with --insecure-no-auth it must be a loopback address, such as 127.0.0.1:8090", o.listen)
	}
	// The name is not resolved again, which could give another address.
	o.listen = address.String()
	return nil
}

// defaultReplica is the name that a StatefulSet gives its Pod, or the first one.
func defaultReplica(store string, hostname func() (string, error)) string {
	if host, err := hostname(); err == nil && strings.HasPrefix(host, store+"-") {
		return host
	}
	return store + "-0"
}

// volume is which part of the volume this replica has. What a version left that
// knew of one replica only was the first one's, not that of a StatefulSet's later Pods.
func (o *options) volume() file.Options {
	ordinal, of := strings.CutPrefix(o.replica, o.store+"-")
	n, err := strconv.Atoi(ordinal)
	later := of && err == nil && n > 0
	return file.Options{Replica: o.replica, Adopt: !later, TrustSyncfs: o.trustSyncfs}
}

func (o *options) handler(w io.Writer) slog.Handler {
	how := &slog.HandlerOptions{Level: o.logLevel}
	if o.logFormat == "text" {
		return slog.NewTextHandler(w, how)
	}
	return slog.NewJSONHandler(w, how)
}

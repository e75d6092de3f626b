package boundaries_test

import "slices"

// module is the path of the main module.
const module = "github.com/slipway-dev/slipway"

// A room is one package, or with a final "/..." a package and all below it.
// Its code may import the standard library, the rooms and the libraries listed.
// A library is an import path and all below it.
type room struct {
	path      string
	rooms     []string
	libraries []string
}

// house is the table. A new package needs a line here, and a reason for it.
var house = []room{
	// The API: nothing but types, constants and generated code.
	{path: "api/v1alpha1", libraries: []string{
		"k8s.io/api/core/v1", // what Kubernetes itself lets one say of a Pod
		"k8s.io/apimachinery",
		"sigs.k8s.io/controller-runtime/pkg/scheme",
	}},
	{path: "api/applyconfiguration/...", rooms: []string{"api/v1alpha1"}, libraries: []string{
		"k8s.io/api/core/v1",
		"k8s.io/apimachinery",
		"k8s.io/client-go/applyconfigurations",
		"sigs.k8s.io/structured-merge-diff/v6",
	}},

	// The operator: a room for each kind, which do not know each other, what they
	// share, and the wiring of all. It never meets the dataplane.
	{path: "controllers", rooms: []string{"controllers/...", "liveness", "api/..."}, libraries: kubernetes},
	{path: "controllers/keyring", rooms: []string{
		"api/...", "controllers/hosts", "controllers/made", "controllers/metrics", "controllers/retry", "telemetry",
	}, libraries: kubernetes},
	{path: "controllers/injection", rooms: []string{"api/..."}, libraries: kubernetes},
	{path: "controllers/uploadquota", rooms: operator, libraries: kubernetes},
	{path: "controllers/uploadsession", rooms: operator, libraries: kubernetes},
	{path: "controllers/uploadstore", rooms: slices.Concat(operator, []string{"controllers/managed", "controllers/hosts", "controllers/made"}), libraries: kubernetes},
	{path: "controllers/metrics", rooms: []string{"controllers/admission", "api/..."}, libraries: []string{
		"github.com/prometheus/client_golang",
		"k8s.io/apimachinery",
		"k8s.io/utils/clock",
		"sigs.k8s.io/controller-runtime/pkg/client",
	}},
	// What a store's certificate is for, and where its clients may be sent: pure.
	{path: "controllers/hosts", rooms: []string{"api/..."}},
	{path: "controllers/made", rooms: []string{"api/..."}, libraries: []string{"k8s.io/api", "k8s.io/apimachinery"}},
	// What a Managed store consists of: pure.
	{path: "controllers/managed", rooms: []string{"api/...", "controllers/made"}, libraries: []string{
		"k8s.io/api",
		"k8s.io/apimachinery",
		"k8s.io/utils/ptr",
		"sigs.k8s.io/controller-runtime/pkg/client",
	}},
	{path: "controllers/admission", rooms: []string{"api/..."}, libraries: []string{"k8s.io/apimachinery", "k8s.io/utils/ptr"}},
	{path: "controllers/conditions", rooms: []string{"api/..."}, libraries: []string{
		"k8s.io/apimachinery",
		"k8s.io/client-go/applyconfigurations/meta",
	}},
	{path: "controllers/display"},
	{path: "controllers/retry", libraries: []string{
		"k8s.io/client-go/util/workqueue",
		"sigs.k8s.io/controller-runtime/pkg/reconcile",
	}},
	// What the cache keeps: pure.
	{path: "controllers/cached", rooms: []string{"controllers/conditions", "controllers/display", "api/..."}, libraries: []string{
		"k8s.io/api/core",
		"k8s.io/apimachinery",
		"sigs.k8s.io/controller-runtime/pkg/client",
	}},
	{path: "controllers/heartbeat", rooms: []string{"api/..."}, libraries: []string{
		"k8s.io/api/coordination",
		"k8s.io/apimachinery",
	}},

	// The dataplane. The core knows nothing but the standard library.
	{path: "dataplane/session"},
	{path: "dataplane/sink/file", rooms: []string{"dataplane/session"}, libraries: []string{"golang.org/x/sys"}},
	{path: "dataplane/sink/sinktest", rooms: []string{"dataplane/session"}},
	{path: "dataplane/upload", rooms: []string{"dataplane/session"}, libraries: []string{"lukechampine.com/blake3"}},
	{path: "dataplane/metrics", rooms: []string{"dataplane/session"}, libraries: []string{"github.com/prometheus/client_golang"}},
	{
		path: "dataplane/chunkapi",
		rooms: []string{
			"dataplane/auth", "dataplane/fair", "dataplane/metrics", "dataplane/upload", "dataplane/session",
			"dataplane/strictjson",
		},
		libraries: []string{"github.com/dunglas/httpsfv", "github.com/minio/crc64nvme", "github.com/rs/cors"},
	},
	{path: "dataplane/forward", rooms: []string{"dataplane/upload"}},
	{path: "dataplane/door"},
	{path: "dataplane/fair"},
	{path: "dataplane/strictjson", libraries: []string{"sigs.k8s.io/json"}},
	{path: "dataplane/trace", rooms: []string{"dataplane/session"}, libraries: openTelemetry},
	{path: "dataplane/auth", rooms: []string{"dataplane/session"}},
	{
		path: "dataplane/auth/delegated", rooms: []string{"dataplane/auth"},
		libraries: []string{"golang.org/x/sync", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/apiserver", "k8s.io/client-go"},
	},
	{
		path: "dataplane/auth/ticket", rooms: []string{"dataplane/auth", "dataplane/session"},
		libraries: []string{"github.com/go-jose/go-jose/v4", "sigs.k8s.io/json"},
	},
	{
		path: "dataplane/cluster",
		rooms: []string{
			"dataplane/metrics", "dataplane/upload", "dataplane/session", "dataplane/strictjson", "liveness", "api/...",
		},
		libraries: kubernetes,
	},

	// Whether a replica is alive: the one rule of the operator and the dataplanes.
	{path: "liveness", rooms: []string{"api/..."}, libraries: []string{"k8s.io/api/coordination", "k8s.io/apimachinery/pkg/types"}},

	// The Go client: nothing but the standard library.
	{path: "client"},

	// What both programs tell of themselves.
	{path: "telemetry", libraries: slices.Concat(openTelemetry, []string{"github.com/go-logr/logr", "sigs.k8s.io/controller-runtime/pkg/reconcile"})},

	// Flags and wiring: anything.
	{path: "cmd/...", rooms: []string{"..."}, libraries: []string{"..."}},

	// What crosses packages.
	{path: "test/boundaries"},
	{path: "test/controlplane", libraries: kubernetes},
	{path: "test/...", rooms: []string{"..."}, libraries: []string{"..."}},
}

// operator is what a reconciler may use of the module.
var operator = []string{"api/...", "controllers/admission", "controllers/conditions", "controllers/display", "controllers/heartbeat", "controllers/metrics", "controllers/retry", "liveness", "telemetry"}

// openTelemetry is what makes and sends spans.
var openTelemetry = []string{"go.opentelemetry.io"}

// kubernetes is what a room that speaks to the API server builds on.
var kubernetes = []string{
	"github.com/go-logr/logr",
	"github.com/prometheus/client_golang",
	"k8s.io/api",
	"k8s.io/apimachinery",
	"k8s.io/client-go",
	"k8s.io/klog/v2",
	"k8s.io/utils",
	"sigs.k8s.io/controller-runtime",
}

// A test may import more than the code it tests, but not leave its wing.
var wings = []room{
	{path: "api/...", rooms: []string{"api/...", "test/..."}, libraries: kubernetesTests},
	{path: "controllers/...", rooms: []string{"controllers/...", "liveness", "api/...", "test/..."}, libraries: kubernetesTests},
	// The core's tests run it over a real sink.
	{path: "dataplane/session", rooms: []string{"dataplane/session", "dataplane/sink/..."}, libraries: testLibraries},
	{path: "dataplane/...", rooms: []string{"dataplane/...", "liveness", "api/...", "test/..."}, libraries: kubernetesTests},
	// The client's tests call the real dataplane.
	{path: "client", rooms: []string{"client", "dataplane/..."}, libraries: slices.Concat(testLibraries, []string{"github.com/minio/crc64nvme"})},
	{path: "liveness", rooms: []string{"api/..."}, libraries: kubernetesTests},
	{path: "telemetry", libraries: slices.Concat(testLibraries, openTelemetry, []string{"github.com/go-logr/logr", "sigs.k8s.io/controller-runtime/pkg/reconcile"})},
	{path: "cmd/...", rooms: []string{"..."}, libraries: []string{"..."}},
	{path: "test/boundaries"},
	{path: "test/...", rooms: []string{"..."}, libraries: []string{"..."}},
}

var testLibraries = []string{
	"github.com/google/go-cmp",
	"github.com/onsi/ginkgo/v2",
	"github.com/onsi/gomega",
	"pgregory.net/rapid",
}

var kubernetesTests = slices.Concat(testLibraries, kubernetes, []string{
	"github.com/fluxcd/cli-utils/pkg/kstatus/status",
	"k8s.io/apiextensions-apiserver",
	"sigs.k8s.io/yaml",

	// Libraries of a room, for its tests.
	"github.com/evanphx/json-patch/v5",
	"github.com/dunglas/httpsfv",
	"github.com/go-jose/go-jose/v4",
	"github.com/minio/crc64nvme",
	"go.opentelemetry.io",
	"golang.org/x/net/http2",
	"golang.org/x/sys",
	"lukechampine.com/blake3",
})

// strangers may not be required by the main module: tools, benchmarks and the
// control plane have modules of their own.
var strangers = []string{
	"github.com/golangci",
	"github.com/google/go-containerregistry",
	"github.com/prometheus-operator",
	"github.com/prometheus/prometheus",
	"github.com/slipway-dev/slipway/bench",
	"github.com/slipway-dev/slipway/hack",
	"go.etcd.io/etcd/server/v3",
	"golang.org/x/vuln",
	"helm.sh/helm",
	"k8s.io/code-generator",
	"k8s.io/kubernetes",
	"mvdan.cc/sh/v3",
	"sigs.k8s.io/controller-runtime/tools/setup-envtest",
	"sigs.k8s.io/controller-tools",
	"sigs.k8s.io/kube-api-linter",
	"sigs.k8s.io/kustomize",
}

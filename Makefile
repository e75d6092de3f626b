SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Static binaries, and no C compiler needed. Only the race detector wants one;
# hack/test.sh turns it on for that run.
export CGO_ENABLED := 0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

# The images that `images` builds and `deploy` runs.
MANAGER_IMAGE ?= slipway-manager:dev
DATAPLANE_IMAGE ?= slipway-dataplane:dev

# What `test-e2e` runs besides: its own program in the cluster, and the dataplane under another
# tag, to which it rolls a store.
E2E_IMAGE ?= slipway-e2e:dev
DATAPLANE_NEXT_IMAGE ?= slipway-dataplane:next
# Which specs it runs, as a label filter of ginkgo; all when empty. How many at once.
E2E ?=
E2E_PROCS ?= 3

# Every tool is pinned in a module of its own and run from there.
TOOL := go tool -modfile=hack/tools/go.mod
LINT := go tool -modfile=hack/tools/lint/go.mod golangci-lint-kube-api-linter
KUSTOMIZE := $(TOOL) kustomize
KUBECTL ?= kubectl
# docker, podman or none (tarballs); the first that answers when empty.
ENGINE ?=

##@ Try it

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-zA-Z0-9_-]+:.*## / { printf "  %-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## The whole story in a minute: a real upload, killed half way and resumed
	hack/demo.sh

.PHONY: run
run: build ## The same processes, left running to play with
	hack/demo.sh --keep

##@ Check it

.PHONY: test
test: ## Everything that must pass: unit, conformance, control plane and boundary tests
	hack/test.sh ./...

# How long each of the nightly programs goes on.
NIGHTLY_MINUTES ?= 30

.PHONY: nightly
nightly: ## The crash programs, the model of admission and the fuzz targets, NIGHTLY_MINUTES each (30); NIGHTLY="kill fuzz" for some
	NIGHTLY_MINUTES=$(NIGHTLY_MINUTES) hack/nightly.sh $(NIGHTLY)

.PHONY: toothless
toothless: ## The power-cut program on disks that ignore each sync in turn: every one must be found out
	TOOTHLESS=all hack/test.sh -v -run '^TestToothless' ./test/crash/powercut

.PHONY: test-skew
test-skew: ## The story with the dataplane of the version before and today's operator, and the other way round
	hack/skew.sh

.PHONY: test-e2e
test-e2e: ## The end-to-end suite on the cluster of KUBECONFIG, which must be without Slipway; E2E="sidecar, quota" for some
	@mkdir -p bin/e2e
	sed -e 's|slipway-manager:dev|$(MANAGER_IMAGE)|' -e 's|slipway-dataplane:dev|$(DATAPLANE_IMAGE)|' dist/install.yaml >bin/e2e/install.yaml
	E2E_MANIFEST=$(CURDIR)/bin/e2e/install.yaml E2E_IMAGE=$(E2E_IMAGE) KUBECTL=$(KUBECTL) \
		MANAGER_IMAGE=$(MANAGER_IMAGE) DATAPLANE_IMAGE=$(DATAPLANE_IMAGE) DATAPLANE_NEXT_IMAGE=$(DATAPLANE_NEXT_IMAGE) \
		go run github.com/onsi/ginkgo/v2/ginkgo --procs=$(E2E_PROCS) --label-filter='$(E2E)' --timeout=40m $(if $(CI),--no-color) \
		--poll-progress-after=3m --junit-report=junit.xml --output-dir=bin/e2e ./test/e2e

.PHONY: bench
bench: ## The data path against its peers, half an hour on a quiet machine; writes docs/benchmarks.md
	cd bench && go run ./cmd/bench -report ../docs

.PHONY: scale
scale: ## Ten thousand sessions with the real programs, a quarter of an hour on a quiet machine; writes docs/scale.md
	cd bench && go run ./cmd/scale -report ../docs

.PHONY: verify
verify: verify-modules verify-generated verify-config verify-chart verify-prometheus verify-boundaries lint verify-vulnerabilities ## Generated files, modules, manifests, chart, alert rules, boundaries, lint and vulnerabilities
	@echo "verify: all is as it should be"

.PHONY: verify-modules
verify-modules: ## go.mod and go.sum of each module are tidy
	hack/verify-modules.sh

.PHONY: verify-generated
verify-generated: ## Generating changes no file
	hack/verify-generated.sh

.PHONY: verify-config
verify-config: ## Each folder of config/ renders
	hack/verify-config.sh

.PHONY: verify-chart
verify-chart: ## The Helm chart lints, is dist/install.yaml, and does with its values what its README says
	hack/verify-chart.sh

.PHONY: verify-prometheus
verify-prometheus: ## The alert rules fire when they should, and rules and dashboard use metrics that there are
	hack/verify-prometheus.sh

.PHONY: verify-boundaries
verify-boundaries: ## Every package imports only what its room allows
	go test -v -run '^TestThe|^TestEvery|^TestOperator' ./test/boundaries

.PHONY: verify-vulnerabilities
verify-vulnerabilities: ## No known vulnerability is reachable, where the database answers
	hack/verify-vulnerabilities.sh

.PHONY: lint
lint: ## golangci-lint with the Kubernetes API linter
	$(LINT) run

##@ Build it

.PHONY: build
build: ## Every command into bin/
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: generate
generate: ## Deep copies, CRDs, RBAC, apply configurations, dist/install.yaml and the chart's objects from the sources
	@# Removed first, so that what is no longer generated does not stay.
	rm -rf api/applyconfiguration config/crd/bases
	$(TOOL) controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
	$(TOOL) controller-gen applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
	$(TOOL) controller-gen crd paths=./api/v1alpha1 output:crd:artifacts:config=config/crd/bases
	$(TOOL) controller-gen rbac:roleName=manager-role paths=./controllers/... output:rbac:artifacts:config=config/rbac
	hack/dist.sh

.PHONY: dist
dist: ## dist/install.yaml with MANAGER_IMAGE and DATAPLANE_IMAGE, and the chart's objects
	hack/dist.sh $(MANAGER_IMAGE) $(DATAPLANE_IMAGE)

.PHONY: images
images: ## The images of the manager and the dataplane; without docker or podman, as dist/images/*.tar
	ENGINE=$(ENGINE) hack/images.sh $(VERSION) manager=$(MANAGER_IMAGE) dataplane=$(DATAPLANE_IMAGE)

.PHONY: images-e2e
images-e2e: images ## The same, and what test-e2e needs besides
	ENGINE=$(ENGINE) hack/images.sh $(VERSION) e2e=$(E2E_IMAGE)
	ENGINE=$(ENGINE) IMAGES=dist/images/next hack/images.sh $(VERSION) dataplane=$(DATAPLANE_NEXT_IMAGE)

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist/images

##@ Deploy it (to the cluster of KUBECONFIG)

.PHONY: install
install: ## The CRDs
	$(KUSTOMIZE) build config/crd | $(KUBECTL) apply --server-side -f -

.PHONY: uninstall
uninstall: ## Remove the CRDs, and with them every session and store
	$(KUSTOMIZE) build config/crd | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy
deploy: ## The CRDs, the operator and the owner policies
	$(KUSTOMIZE) build config/default | \
		sed -e 's|slipway-manager:dev|$(MANAGER_IMAGE)|' -e 's|slipway-dataplane:dev|$(DATAPLANE_IMAGE)|' | \
		$(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove the operator and the policies, keep the CRDs and their objects
	for part in $$(sed -n 's|^- \.\./||p' config/default/kustomization.yaml); do \
		[ "$$part" = crd ] || { $(KUSTOMIZE) build "config/$$part"; echo ---; }; \
	done | $(KUBECTL) delete --ignore-not-found -f -

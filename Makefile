# Tidegate. `make` alone lists the targets.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
export CGO_ENABLED ?= 0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X tidegate.io/tidegate/cmd/internal/version.Version=$(VERSION)

TOOL          := go tool -modfile=.ci/tools/go.mod
CRD_DIR       := charts/tidegate/resources/crds
# Nested modules: each pins heavy binaries and keeps them out of the product's go.mod.
NESTED        := .ci/tools $(patsubst %/,%,$(sort $(dir $(wildcard test/cluster/binaries/*/go.mod))))
UNIT_PACKAGES  = $(shell go list ./... | grep -v -e /test/integration -e /test/cluster -e /test/attack$$ -e /test/fault$$)
# What has tests that short runs skip; those of schemas/render and rollout are sampled there, not skipped.
LONG_PACKAGES := ./cmd/tidegate ./cmd/tidegate-manager ./policies/eval/... ./schemas/worker ./test/bench/admission
CLUSTER_PACKAGES := ./test/cluster/...
# Whose tests have a cluster each, of which so many run at a time: on two cores, two keep them busy.
CLUSTER_TESTS := test/attack test/integration
CLUSTERS      ?= 2

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the CLI and the manager into bin/.
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/tidegate ./cmd/tidegate-manager
	ln -sf tidegate bin/kubectl-tidegate

.PHONY: demo
demo: ## Play the main job on a local Kubernetes; DEMO_KEEP=1 leaves it running.
	go run ./test/demo

.PHONY: test
test: lint unit long exhaustive integration ## Lint, unit, exhaustive and integration tests.

.PHONY: unit
unit: ## Unit tests: no cluster. The planner's states are sampled; see exhaustive.
	go test -short $(UNIT_PACKAGES)

.PHONY: long
long: ## Unit tests that unit leaves out: bombs that fill memory and processor, one package at a time.
	go test -count=1 -p 1 $(LONG_PACKAGES)

.PHONY: exhaustive
exhaustive: ## All states of the planner, and random walks of its world with faults.
	go test -count=1 -v -timeout 25m -run 'EveryObservation|RandomWalks' ./rollout/plan

.PHONY: integration
integration: binaries ## Tests against local clusters; CLUSTERS=1 plays one test at a time.
	cd test/cluster/binaries/gateway && go test .
	go test -count=1 -timeout 20m -p 1 $(CLUSTER_PACKAGES)
	go build -o .demo/bin/ ./cmd/tidegate ./cmd/tidegate-manager # which the stages then find as they are
	.ci/clusters $(CLUSTERS) $(CLUSTER_TESTS)
	go test -count=1 -parallel 16 -timeout 30m ./test/fault

.PHONY: fault
fault: binaries ## Disturb the rollout engine at each of its requests, in every way; see docs/fault-tests.md.
	go test -count=1 -v -parallel 16 -timeout 180m ./test/fault -everything

.PHONY: binaries
binaries: ## Build the pinned Kubernetes binaries into the user's cache.
	go run ./test/cluster build

.PHONY: sim
sim: ## Play the scenarios of the planner through the library and the built command line.
	go test -count=1 ./rollout/simulate ./test/sim

.PHONY: race
race: ## Unit tests under the race detector.
	CGO_ENABLED=1 go test -race -short $(UNIT_PACKAGES)

.PHONY: attack
attack: binaries ## Play every attempt to go around the flow, and what must not be hindered; DIRS="more directories".
	go run ./test/attack --dir test/attack/attempts --dir test/attack/legitimate $(foreach d,$(DIRS),--dir $(d))

.PHONY: bench
bench: bench-go bench-templates bench-admission bench-rollouts ## All benchmarks, one after the other; half an hour.

.PHONY: bench-go
bench-go: ## Benchmarks of functions; compare two runs with benchstat.
	go test -run '^$$' -bench . -benchmem ./schemas/... ./policies/... ./webhook/... ./rollout/...

.PHONY: bench-templates
bench-templates: ## Rendering against the bare engine, the pool, a fleet, and helm template.
	@go run ./test/bench/templates

.PHONY: bench-admission
bench-admission: ## Admission reviews over HTTPS beside a webhook that does nothing and a baseline; ARGS="-quick", "-o json".
	@go run ./test/bench/admission $(ARGS)

.PHONY: bench-rollouts
bench-rollouts: binaries ## The rollout engine on a local Kubernetes, a few minutes; ARGS="-full", "-phases burst", "-o json", "-h".
	@go run ./test/bench/rollouts $(ARGS)

.PHONY: soak-templates
soak-templates: ## 100,000 renders with a million names of fields: nothing may grow.
	go test -count=1 -v -timeout 60m -run TestSoak ./schemas/worker -soak

.PHONY: fuzz
fuzz: ## Fuzz the decoders for a minute each.
	go test -run '^$$' -fuzz FuzzValues -fuzztime 60s ./schemas/render
	go test -run '^$$' -fuzz FuzzDecode -fuzztime 60s ./policies/eval/internal/document
	go test -run '^$$' -fuzz FuzzMembers -fuzztime 60s ./webhook

.PHONY: lint
lint: ## golangci-lint over the Go code.
	$(TOOL) golangci-lint run ./...

.PHONY: fmt
fmt: ## Format the Go code.
	$(TOOL) golangci-lint fmt ./...

.PHONY: generate
generate: ## Generate deep copies, CRDs and the chart's copies of shipped files.
	$(TOOL) controller-gen object paths=./schemas/v1alpha1 crd:allowDangerousTypes=false output:crd:dir=$(CRD_DIR)
	go generate ./...

.PHONY: tidy
tidy: ## Tidy every module.
	go mod tidy
	for m in $(NESTED); do (cd $$m && go mod tidy); done

.PHONY: verify
verify: generate tidy fmt ## Regenerate, tidy and format; fail if that changes a file.
	@git diff --exit-code || { echo "verify: the files above were not up to date; commit what make generate tidy fmt made of them" >&2; exit 1; }

.PHONY: clean
clean: ## Remove what was built in the clone; the user's cache is left alone.
	rm -rf bin .demo

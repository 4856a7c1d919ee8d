# make help lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

BIN := bin/fabric
GO_FILES := $(shell git ls-files -co --exclude-standard '*.go' '*.yaml' '*.tmpl' go.mod go.sum 2>/dev/null)
GOLANGCI_VERSION := v2.15.0
GOLANGCI := .cache/golangci-lint-$(GOLANGCI_VERSION)
GOTESTSUM_VERSION := v1.13.0
GOTESTSUM := .cache/gotestsum-$(GOTESTSUM_VERSION)

# For tests that say much: at the end it says again what failed, and why.
TEST := $(GOTESTSUM) --format standard-verbose --

export CGO_ENABLED := 0

# Debian packages that the lab and the tests run.
PACKAGES := mmdebstrap systemd-container uidmap arch-test iproute2 iputils-ping ethtool openssh-client \
	openvswitch-switch iperf3 util-linux procps git

# Debian packages of what fabric is measured against.
PACKAGES_PEERS := ansible

# Debian packages that hosts of the lab's driver qemu need.
PACKAGES_VM := qemu-system-x86 qemu-utils e2fsprogs

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: build
build: $(BIN) ## build bin/fabric

$(BIN): $(GO_FILES)
	go build -trimpath -ldflags='-s -w' -o $@ ./cmd/fabric

.PHONY: root
root:
	@if [ "$$(id -u)" != 0 ]; then \
		echo "This needs root: it boots hosts in network namespaces. Run it with sudo, or make test-unit for what needs none." >&2; \
		exit 1; \
	fi

# $(call install,PACKAGES) installs those that are missing, and Go.
define install
	@missing=(); for p in $(1); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing+=($$p); \
	done; \
	command -v go >/dev/null || missing+=(golang-go); \
	if [ $${#missing[@]} -gt 0 ]; then \
		echo "installing: $${missing[*]}"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi
endef

# What the tests' hosts ran, a line for each kind.
versions = @echo "The hosts ran: release and driver | Open vSwitch | Docker | systemd | kernel"; sort -u .cache/versions

.PHONY: deps
deps: root ## install the Debian packages that demo and test need
	$(call install,$(PACKAGES))

.PHONY: deps-peers
deps-peers: deps ## install those that bench-peers needs too
	$(call install,$(PACKAGES_PEERS))

.PHONY: deps-vm
deps-vm: deps ## install those that test-vm needs too
	$(call install,$(PACKAGES_VM))

.PHONY: demo
demo: deps build ## boot three hosts, make them one network, and prove it
	@scenarios/demo.sh $(BIN)

.PHONY: demo-down
demo-down: root build ## take the demo's hosts down
	@$(BIN) lab down three-hosts

.PHONY: test
test: deps build ## run all tests; needs root
	@echo "Running all tests: pure packages, real Open vSwitch in network namespaces, and whole fabrics on lab hosts of bookworm, trixie and forky. Not the faults at each moment of an apply, which take longer: make test-faults."
	go vet -tags privileged ./... && go vet -tags privileged,faults ./scenarios && go vet -tags privileged,soak ./scenarios && go vet -tags privileged,peers ./scenarios && go vet -tags privileged,vm ./scenarios
	mkdir -p .cache && rm -f .cache/versions
	VERSIONS=$(CURDIR)/.cache/versions go test -tags privileged -timeout 30m ./...
	$(call versions)

.PHONY: test-unit
test-unit: ## run the tests that need neither root nor hosts
	@echo "Running the tests that need no root. make test, as root, runs those on real Open vSwitch and real hosts too."
	go test ./...

# Where input comes from that nobody can vouch for: PACKAGE:TARGET.
FUZZTIME ?= 1m
FUZZ := \
	./topology:FuzzParse \
	./ipam:FuzzParseLock \
	./dockercfg:FuzzMerge \
	./plan:FuzzParseSaved \
	./host/probe:FuzzARPRepliesFromOutsideAreHarmless \
	./host/probe:FuzzICMPFromOutsideIsHarmless \
	./internal/printable:FuzzPrintable \
	./host:FuzzRequests \
	./operator/remote:FuzzHost \
	./operator/remote:FuzzSSHArguments \
	./cmd/fabric:FuzzObservation

.PHONY: fuzz
fuzz: ## feed the parsers random input, FUZZTIME (1m) each
	@echo "Fuzzing $(words $(FUZZ)) parsers for $(FUZZTIME) each, two side by side."
	@printf '%s\n' $(FUZZ) | tr : ' ' | xargs -P 2 -L 1 .ci/fuzz $(FUZZTIME)

.PHONY: test-faults
test-faults: deps build $(GOTESTSUM) ## strike applies on lab hosts with faults, at each of their moments
	$(TEST) -tags privileged,faults -count 1 -run '^TestFaults$$' -timeout 30m ./scenarios

VM_PATIENCE ?= 15m

.PHONY: test-vm
test-vm: deps-vm build $(GOTESTSUM) ## run the main job on virtual machines with kernels of their own
	mkdir -p .cache && rm -f .cache/versions
	VERSIONS=$(CURDIR)/.cache/versions VM_PATIENCE=$(VM_PATIENCE) $(TEST) -tags privileged,vm -count 1 -run '^Test(VirtualMachines|MixedKernels)$$' -timeout 0 ./scenarios
	$(call versions)

SOAK ?= 30m

.PHONY: soak
soak: deps build $(GOTESTSUM) ## let random faults strike applies on lab hosts for SOAK (30m)
	SOAK=$(SOAK) $(TEST) -tags privileged,soak -count 1 -run '^TestSoak$$' -timeout 0 ./scenarios

.PHONY: bench
bench: deps build ## measure the figures of docs/benchmarks.md
	go test -run '^$$' -bench . -benchtime 5x ./cmd/fabric
	go test -tags privileged -run '^$$' -bench . -benchtime 1x -timeout 30m ./scenarios

.PHONY: bench-peers
bench-peers: deps-peers build ## measure fabric against Ansible and a shell script, see bench/README.md
	go test -tags privileged,peers -run '^TestPeers' -v -timeout 0 ./scenarios

.PHONY: lint
lint: $(GOLANGCI) ## check the code's style
	$(GOLANGCI) run --build-tags privileged,faults,soak,peers,vm

$(GOLANGCI):
	GOBIN=$(CURDIR)/.cache go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv .cache/golangci-lint $@

$(GOTESTSUM):
	GOBIN=$(CURDIR)/.cache go install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)
	mv .cache/gotestsum $@

.PHONY: generate
generate: ## remake the OVSDB models
	go generate ./...

.PHONY: clean
clean: ## delete what was built here
	rm -rf bin .cache

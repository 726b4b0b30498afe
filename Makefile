# xlb: build, test, measure. `make help` lists the targets.

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS = -X main.version=$(VERSION)

# Programs that need privileges run through sudo unless we are root.
ROOT = $(if $(filter 0,$(shell id -u)),,sudo -E env "PATH=$(PATH)")

# How long and how often `make bench` measures; see `xlb bench --help`.
BENCH ?=

# What `make compare` measures and how it prints it; see `build/compare -help`.
COMPARE ?=

# What `make profile` looks at; see `build/profile -help`.
PROFILE ?=

# What `make flowtables` measures and how it prints it; see `build/flowtables -help`.
FLOWTABLES ?=

# What `make flood` measures and how it prints it; see `build/flood -help`.
FLOOD ?=

.PHONY: help build demo test lint generate plugins bench profile flowtables flood compare install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build/xlb, a static binary
	@test/deps go
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o build/xlb ./cmd/xlb

demo: build ## a small network in namespaces on this machine, balanced in the kernel (root)
	$(ROOT) build/xlb demo

test: ## everything: format, vet, lint, generated code, unit, packet and end-to-end tests (root)
	@test/deps go test compare plugins
	@$(ROOT) test/run

lint: ## gofmt, go vet, staticcheck
	@test/deps go
	@test/run lint

generate: ## compile bpf/ and regenerate what is made from code (clang-19)
	@test/deps go generate
	$(GO) generate ./...

plugins: build ## compile the modules of policies/ and check the SDKs (clang-19, rustc, npm)
	@test/deps go plugins
	for bundle in policies/*/; do build/xlb policy build "$$bundle" || exit 1; done
	$(GO) test -count 1 ./plugins/... ./policies/...

bench: build ## nanoseconds per packet (root)
	$(ROOT) build/xlb bench $(BENCH)

profile: ## where in the source a packet's time goes (root)
	@test/deps go profile
	CGO_ENABLED=0 $(GO) build -trimpath -o build/profile ./test/profile
	$(ROOT) build/profile $(PROFILE)

flowtables: ## designs of a flow table side by side (root)
	@test/deps go
	CGO_ENABLED=0 $(GO) build -trimpath -o build/flowtables ./test/flowtables
	$(ROOT) build/flowtables $(FLOWTABLES)

flood: ## frames per second over veth, beside less and more than xlb (root)
	@test/deps go flood
	CGO_ENABLED=0 $(GO) build -trimpath -o build/flood ./test/flood
	$(ROOT) build/flood $(FLOOD)

compare: build ## xlb beside HAProxy, nginx and nftables, in namespaces (root)
	@test/deps go compare
	CGO_ENABLED=0 $(GO) build -trimpath -o build/compare ./test/compare
	$(ROOT) build/compare $(COMPARE)

install: build ## /usr/local/sbin/xlb
	install -D -m 0755 build/xlb $(DESTDIR)/usr/local/sbin/xlb

clean: ## remove build/
	rm -rf build

# smtpscope: Go 1.26, Node 20 or newer and make are all that "make run" needs. "make test" sets up the rest (see .ci/setup).

GO_TEST_TIMEOUT ?= 8m
FUZZTIME ?= 20s
ARGS ?=

summary = go run ./.ci/summary
# ST1005 wants errors in lower case and without a full stop; many of ours are sentences that a user reads.
staticcheck = .cache/build/staticcheck -checks inherit,-ST1005
packages = site/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help run build test setup lint test-go test-deploy test-wasm race test-site test-e2e fuzz bench picture clean tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: tools $(packages) ## build quickly and serve the page on http://127.0.0.1:8025 (flags of the program: ARGS="--allow mx.example.net:25")
	@go run ./site/build -fast
	@go build -trimpath -o bin/smtpscope ./proxy
	@exec bin/smtpscope $(ARGS)

build: tools $(packages) ## bin/smtpscope, page and WebAssembly inside, compressed as well as can be
	go run ./site/build
	go build -trimpath -ldflags='-s -w' -o bin/smtpscope ./proxy

test: ## set up, build, and run every test; the last line has the counts
	@.ci/stages setup lint build test-go test-deploy test-wasm test-site test-e2e

setup: ## get the browser and the mail servers that tests use
	@.ci/setup

lint: tools $(packages) ## go vet, gofmt, staticcheck, tsc
	go vet ./... ./.ci/summary
	GOOS=js GOARCH=wasm go vet ./wasm/... ./protocol/...
	@unformatted=$$(gofmt -l protocol proxy wasm site/*.go site/build .ci/summary); \
		if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; fi
	go build -modfile=.ci/tools.mod -o .cache/build/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(staticcheck) $$(go list ./... ./.ci/summary | grep -v /relay$$)
	GOOS=js GOARCH=wasm $(staticcheck) ./wasm/...
	@# nhooyr.io/websocket, which only this package imports, is marked deprecated (SA1019) since it changed its name.
	$(staticcheck),-SA1019 ./proxy/internal/relay
	cd site && node_modules/.bin/tsc --noEmit

test-go: tools ## Go tests, those against real mail servers among them
	@$(summary) go test-go go test -json -timeout $(GO_TEST_TIMEOUT) ./... ./.ci/summary

# wasm_exec.js has room for 12 kB of environment and fails when there is more.
test-wasm: tools ## Go tests of what runs in the page, compiled to WebAssembly, in Node
	@$(summary) go test-wasm env GOOS=js GOARCH=wasm go test -json -timeout $(GO_TEST_TIMEOUT) \
		-exec "env -i PATH=$$PATH HOME=$$HOME CI=$$CI $$(go env GOROOT)/lib/wasm/go_js_wasm_exec" ./wasm/...

# Modules of their own, whose validators are no dependency of the program.
test-deploy: tools ## the files of proxy/deploy, by the validators of Kubernetes and of BuildKit
	@$(summary) go test-deploy-kubernetes go -C proxy/deploy/check/kubernetes test -json -timeout $(GO_TEST_TIMEOUT) ./...
	@$(summary) go test-deploy-docker go -C proxy/deploy/check/docker test -json -timeout $(GO_TEST_TIMEOUT) ./...

race: tools ## Go tests of what runs concurrently, under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race -timeout $(GO_TEST_TIMEOUT) ./proxy/... ./protocol/session/... ./protocol/tunnel/...

test-site: tools $(packages) ## TypeScript tests, without a browser
	@go run ./site/build -test
	@$(summary) node test-site --enable-source-maps $$(find site/dist-test -name '*.test.mjs' ! -path '*/e2e/*')

test-e2e: tools $(packages) ## the built program in a real browser, against real mail servers; run "make build" first
	@go build -o bin/realservers ./protocol/session/realservers/cmd
	@go build -o bin/linktest ./proxy/internal/linktest/cmd
	@go run ./site/build -test
	@if [ -e "$${CHROMIUM:-/usr/bin/chromium}" ]; then \
		$(summary) node test-e2e --enable-source-maps --test-concurrency=1 $$(find site/dist-test/e2e -name '*.test.mjs'); \
	else \
		$(summary) not-run test-e2e "Chromium is missing: run .ci/setup, or set CHROMIUM to its path"; \
	fi

fuzz: tools ## each fuzz target for FUZZTIME (20s)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "== $$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

bench: build ## Go benchmarks, the relay beside others (ARGS=-long: half an hour of it), how long the built page takes in a browser
	go test -run '^$$' -bench . -benchmem ./...
	proxy/bench/setup
	go run ./proxy/bench $(ARGS)
	go run ./site/build -test
	node --enable-source-maps site/dist-test/bench/page.bench.mjs

picture: ## the picture of the README, as the last "make test-e2e" saw the page
	cp .cache/pictures/1440x900-light.png site/pictures/session.png

clean: ## remove what was built; what .ci/setup fetched stays
	rm -rf bin site/dist-test site/node_modules .cache/build .cache/compressed .cache/test
	find site/dist -mindepth 1 ! -name .gitkeep -delete

# Says what is missing before something fails for want of it. go itself names the version that go.mod asks for.
tools:
	@command -v go >/dev/null || { echo "Go is missing: install Go $$(awk '$$1 == "go" { print $$2 }' go.mod) or newer (go.dev/doc/install)"; exit 1; }
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "Node is missing: install Node 20 or newer, with npm (nodejs.org)"; exit 1; }
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' || { echo "Node $$(node -v) is too old: install Node 20 or newer (nodejs.org)"; exit 1; }
	@go version >/dev/null

$(packages): site/package.json site/package-lock.json
	cd site && npm ci --no-audit --no-fund
	@touch $@

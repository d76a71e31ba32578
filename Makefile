# Everything here needs python3 >= 3.9 with venv and pip, make and a shell; the rest is installed into .venv.
#   make run                          the server with its bundled backend: an echo, and a chat for browsers
#   make run MASTER=host:port         the server with your backend
#   make test PYTHON=python3.12       another interpreter (after `make clean`, when .venv was made by a different one)
#   make test JOBS=0                  in one process, for a debugger; otherwise in four: much of the suite waits

PYTHON ?= python3
VENV ?= .venv
MASTER ?=
LISTEN ?=
ARGS ?=
SECONDS ?= 60
MINUTES ?= 5
JOBS ?= 4

bin := $(VENV)/bin
installed := $(VENV)/.installed
installed-dev := $(VENV)/.installed-dev
installed-bench := $(VENV)/.installed-bench
pytest := $(bin)/python -m pytest -q -n $(JOBS) --dist loadfile
recipe := pyproject.toml setup.py .ci/install $(wildcard voltlane/wire/batch/*.c voltlane/net/udp/*.[ch])

.DEFAULT_GOAL := help
.PHONY: help run test test-js test-quick test-all check check-native fast bench bench-scaling bench-upgrade bench-workers bench-udp cluster siege starve fuzz soak clean model cert

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(installed) ## start the server with its echo and its chat page (MASTER=host:port: with yours; LISTEN=address)
ifeq ($(strip $(MASTER)),)
	@exec $(bin)/python voltlane.py demo $(if $(strip $(LISTEN)),--listen '$(strip $(LISTEN))')
else
	@exec $(bin)/python voltlane.py serve --master '$(strip $(MASTER))' $(if $(strip $(LISTEN)),--listen '$(strip $(LISTEN))')
endif

test: $(installed-dev) ## the whole test suite (ARGS='tests/wire -x': a part of it, or pytest's options)
	@$(pytest) $(ARGS)

test-js: $(installed-dev) ## the client for browsers and Node against the server (needs node and npm; says so where they are missing)
	@.ci/test-js

test-quick: $(installed-dev) ## the part of it that needs no other processes, in a minute: for work
	@$(pytest) tests/core tests/wire tests/net tests/ops tests/store tests/lanes tests/trunk tests/server \
		tests/test_architecture.py tests/test_costs.py tests/test_config.py tests/test_address.py tests/test_docs.py $(ARGS)

test-all: ## the suite on each of CPython 3.9 to 3.13 and PyPy 3 that this machine has
	@.ci/test-all $(ARGS)

check: $(installed-dev) ## ruff, mypy --strict on the package, and the tests of the architecture
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy --strict voltlane
	$(bin)/python -m pytest -q tests/test_architecture.py

check-native: $(installed-dev) ## the loops in C against the plain ones, under the address and undefined-behaviour sanitizers
	@.ci/check-native $(bin)/python

fast: $(installed) ## libsecp256k1 into .venv, the C loops where there is a compiler; says what is in use
	@.ci/install $(VENV) '$(PYTHON)' '.[fast]'
	@$(bin)/python -c 'from voltlane.wire import batch, curve; print("wire loops:", batch.BACKEND); print("curve:", curve.BACKEND)'

cert: ## a certificate and its key, made by itself and good for localhost, to try tls:// with (needs openssl)
	@.ci/cert

model: ## the resume of version 3 in every order of cuts and crashes, and seeded mistakes (needs spin; ARGS=--quick)
	@docs/model/check $(ARGS)

bench: $(installed-bench) ## the server beside what people would use instead (ARGS=--quick; bench/README.md has the rest)
	@$(bin)/python -m bench $(ARGS)

bench-scaling: $(installed-bench) ## how the cost of a packet grows with clients, idle clients and size
	@$(bin)/python -m bench.scaling $(ARGS)

bench-upgrade: $(installed) ## ten thousand clients under traffic, and the server upgraded ten times (ARGS='--clients 1000 --times 3 --most 500')
	@$(bin)/python -m bench.upgrade $(ARGS)

bench-udp: $(installed-bench) ## datagrams through the plain relay, beside a C program and other relays (ARGS='--rounds 1 --only up-64')
	@$(bin)/python -m bench.udp $(ARGS)

cluster: $(installed) ## three nodes, a redis, a HAProxy, and clients of nodes that are killed (ARGS='--seconds 30'; needs both programs)
	@.ci/install $(VENV) '$(PYTHON)' '.[cluster]'
	@$(bin)/python -m bench.cluster $(ARGS)

bench-workers: $(installed) ## workers beside one process alone: work per second of CPU time (ARGS='--workers 4 --clients 1000')
	@$(bin)/python -m bench.workers $(ARGS)

fuzz: $(installed-dev) ## every parser and the whole handshake with inputs that go wrong (SECONDS=60; ARGS='handshake': one target)
	@$(bin)/python tests/fuzz --seconds $(SECONDS) $(ARGS)

soak: $(installed) ## thousands of clients that come, go, resume, flood and idle (MINUTES=5; ARGS='--clients 500 --pure', '--protocol 3')
	@$(bin)/python -m bench.soak --minutes $(MINUTES) $(ARGS)

siege: $(installed) ## a hundred good clients beside thousands of attackers for a minute (ARGS='--lane all --seconds 10 --pure')
	@$(bin)/python -m bench.siege $(ARGS)

starve: $(installed) ## thousands who never read, a backend that sends flat out, a hard limit of memory (ARGS='--budget 32')
	@$(bin)/python -m bench.starve $(ARGS)

clean: ## remove the virtual environments, caches and whatever was built
	rm -rf $(VENV) .venv-* build dist *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find voltlane -name '*.so' -delete
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Without the extra everything goes on but what comes over HTTP: ws://, wss://, the chat page and the admin endpoint.
$(installed): $(recipe)
	@.ci/install $(VENV) '$(PYTHON)' '.[web]' || \
		{ echo 'going on without [web], so without a page for browsers'; .ci/install $(VENV) '$(PYTHON)' .; }
	@touch $@

$(installed-dev): $(recipe)
	@.ci/install $(VENV) '$(PYTHON)' '.[dev]'
	@touch $@ $(installed)

# What cannot be had on this machine is left out of the comparison.
$(installed-bench): $(installed)
	@for extra in fast bench; do .ci/install $(VENV) '$(PYTHON)' ".[$$extra]" || echo "going on without all of [$$extra]"; done
	@touch $@

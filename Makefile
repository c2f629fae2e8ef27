# Everything here does its own set-up on a fresh Debian 12: `make demo` is the first command to type.

PYTHON ?= python3
BIN    := .venv/bin
SUDO   := $(if $(filter 0,$(shell id -u)),,sudo)

# mininet is here for mnexec; the library itself comes with the `lab` extra.
PACKAGES := python3-venv openvswitch-switch openvswitch-common mininet iproute2 iputils-ping iputils-arping \
            tcpdump traceroute ethtool util-linux

# The console's scenario drives a real browser.
test scenario: PACKAGES += chromium

# Whom Weft is measured beside. Their services are not needed: the benchmark runs its own.
bench-peers: PACKAGES += ovn-central ovn-host

# A network namespace of its own, with nothing but loopback: no frame of a test can leave the machine.
ISOLATED := $(SUDO) unshare --net -- sh -c 'ip link set lo up && exec "$$@"' isolated

.PHONY: help setup packages demo test check scenario bench bench-peers soak serve golden docs clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: setup ## show Weft at work: two hypervisors, two tenants with the same addresses
	@$(ISOLATED) $(BIN)/python -m mininet_scenarios.demo

test: setup ## run every test, scenarios on real Open vSwitch included
	$(ISOLATED) $(BIN)/python -m pytest

check: setup ## format, lint, types, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell

scenario: setup ## run only the scenarios on real Open vSwitch
	$(ISOLATED) $(BIN)/python -m pytest tests/scenarios

bench: setup ## measure
	$(ISOLATED) $(BIN)/python -m tests.benchmarks

bench-peers: setup ## measure beside OVN, from Debian's packages, for some 25 minutes; rewrites docs/performance.md
	$(ISOLATED) $(BIN)/python -m tests.benchmarks.peers --lines docs/performance.jsonl --page docs/performance.md

# Of whose packets Weft and Open vSwitch tell the way, some ten thousand times: whatever a network may have is in these.
TRACED := tracing routing ipv6 security_groups provider_networks routed_wires ways_out nat

# Where everything is proven whenever a scenario ends: a second or two each time.
PROVEN := two_tenants security_groups port_security

soak: setup ## run what takes long: thousands of examples, judged packets, restarts under traffic, ten minutes of churn
	$(ISOLATED) env WEFT_HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -m hypothesis --timeout 0
	$(ISOLATED) env WEFT_HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -s --timeout 0 tests/northbound/test_openapi.py
	$(ISOLATED) env WEFT_HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -s tests/scenarios/test_judged.py tests/scenarios/test_judged_routing.py
	$(ISOLATED) env WEFT_TRACED=60 $(BIN)/python -m pytest --timeout 0 $(TRACED:%=tests/scenarios/test_%.py)
	$(ISOLATED) env WEFT_PROVEN=1 $(BIN)/python -m pytest --timeout 0 $(PROVEN:%=tests/scenarios/test_%.py)
	$(ISOLATED) $(BIN)/python -m mininet_scenarios.controller_restart
	$(ISOLATED) $(BIN)/python -m mininet_scenarios.guarded
	$(ISOLATED) $(BIN)/python -m tests.scenarios.churn

serve: setup ## run a controller with its defaults
	@$(BIN)/weft serve

golden: setup ## rewrite tests/golden; review the difference like code
	WEFT_GOLDEN=write $(BIN)/python -m pytest -k golden

docs: setup ## regenerate docs/pipeline.md from the code
	mkdir -p docs
	$(BIN)/python -m controller.flows.pipeline_doc > docs/pipeline.md.new
	mv docs/pipeline.md.new docs/pipeline.md

# Compiled ahead: where PYTHONDONTWRITEBYTECODE is set (in many containers), each start would compile everything again.
setup: $(BIN)/.installed ## install what is missing: Debian packages, .venv
	@$(BIN)/python -m compileall -q apps controller northbound mininet_scenarios tests

$(BIN)/.installed: setup.cfg pyproject.toml | packages
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# Asks the network only when something is missing. A service that this starts is stopped again: scenarios run
# their own daemons, and a machine that had Open vSwitch before is left as it was.
packages:
	@command -v dpkg-query >/dev/null || { echo 'Not a Debian: install these yourself: $(PACKAGES)'; exit 0; }; \
	missing=; \
	for package in $(PACKAGES); do \
	    dpkg-query --show --showformat '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed \
	        || missing="$$missing $$package"; \
	done; \
	test -n "$$missing" || exit 0; \
	set -ex; \
	$(SUDO) apt-get update; \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; \
	test -d /run/systemd/system || exit 0; \
	for service in openvswitch-switch ovn-central ovn-host; do \
	    case "$$missing " in *" $$service "*) $(SUDO) systemctl disable --now $$service;; esac; \
	done

clean: ## remove what the tools left behind (not .venv)
	$(SUDO) rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info docs/pipeline.md.new
	$(SUDO) find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

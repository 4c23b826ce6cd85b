# `make help` lists what there is. Everything is installed into .venv by what needs it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --progress-bar off --disable-pip-version-check --constraint constraints.txt
# What pip is at, one word a package: the first time it takes about a minute, and a silent minute looks like a dead one.
BRIEFLY := 2> >(grep -v ^WARNING: >&2) | sed -u -n -e 's/^ *Collecting \([^ <>=!~;(]*\).*/  \1/p' -e 's|^ *Processing .*/\([^/]*\)-[0-9].*|  \1|p' -e 's/^Installing collected.*/  installing them …/p'
DIR ?= var
PORT ?=
VALIDATION_PORT ?=
# Where the environment forbids bytecode, each of the programs that tests start, and each worker, compiles all anew.
export PYTHONDONTWRITEBYTECODE :=
# Tests wait for more than half of their time, many of them for daemons: two workers to each of two cores.
WORKERS ?= 4
B ?=

.DEFAULT_GOAL := help
.PHONY: help run demo first check test future soak bench docs sbom lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

run: $(VENV)/.server ## make an instance in ./var if there is none, and serve it on loopback; PORT= and VALIDATION_PORT= for others
	@$(BIN)/ikewarden init --dir $(DIR) --if-missing $(if $(PORT),--port $(PORT)) $(if $(VALIDATION_PORT),--validation-port $(VALIDATION_PORT))
	@exec $(BIN)/ikewarden serve --dir $(DIR)

demo: $(VENV)/.dev ## two charon daemons, one tunnel, one revocation (as root; else the certificates alone)
	@bash tests/prepare.sh demo
	@$(BIN)/python -m tests.lab.demo

first: ## the path of somebody new, timed: clone, first certificate, first tunnel (the last as root)
	@bash tests/prepare.sh demo
	@$(PYTHON) -m tests.docs.first

check: $(VENV)/.dev ## format, lint, types, import rules, module shape
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_shape.py

test: $(VENV)/.dev ## all tests, on SQLite and PostgreSQL, with real daemons
	@bash tests/prepare.sh test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q

soak: $(VENV)/.dev ## the long ones: 200 kills under load, 50 revocations, 100 deaths, 100 rotations, all their faults, a million bad requests
	@bash tests/prepare.sh test
	IKEWARDEN_SOAK_KILLS=200 $(BIN)/python -m pytest -q -k kill tests
	IKEWARDEN_SOAK_REVOCATIONS=50 IKEWARDEN_SOAK_DEATHS=100 $(BIN)/python -m pytest -q -s tests/lab/test_agents_at_length.py tests/lab/test_tokens.py
	IKEWARDEN_SOAK_MESSAGES=50000 $(BIN)/python -m pytest -q tests/pki/test_scep_messages.py tests/api/test_scep.py tests/api/test_est.py tests/api/test_est_server_keys.py -k "strange or changed"
	IKEWARDEN_SOAK_ACME=40000 $(BIN)/python -m pytest -q tests/api/acme/test_fuzz.py
	IKEWARDEN_SOAK_CMP=40000 $(BIN)/python -m pytest -q tests/api/test_cmp_strange.py
	IKEWARDEN_SOAK_REQUESTS=1000000 $(BIN)/python -m pytest -q -s tests/service/test_strange_requests.py
	IKEWARDEN_SOAK_ESP=1 $(BIN)/python -m pytest -q tests/ike/daemons/test_real_esp.py
	bash tests/prepare.sh images && $(BIN)/python -m pytest -q tests/packaging/images.py
	IKEWARDEN_SOAK_ROTATIONS=100 IKEWARDEN_SOAK_FAULTS=1 $(BIN)/python -m pytest -q -s tests/lab/test_rotation.py tests/lab/test_rotation_faults.py

# Without the third variable libfaketime lets every wait for a condition by the monotonic clock end at
# once: charon's idle threads then take a core each.
future: $(VENV)/.dev ## the same tests thirty years from now
	@bash tests/prepare.sh test
	LD_PRELOAD=$$(echo $(CURDIR)/$(VENV)/lib/python3*/site-packages/libfaketime/vendor/libfaketime/src/libfaketime.so.1) \
	  FAKETIME=+30y FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_FORCE_MONOTONIC_FIX=0 \
	  $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q -p no:cacheprovider

bench: $(VENV)/.dev ## measure beside OpenBao; B=issuance|hsm|doors|revocation|ocsp|crl|fleet|rotation|ingest|audit|primes|detection|logs for one
	@bash tests/prepare.sh bench
	$(BIN)/python -m bench $(B)

docs: $(VENV)/.dev ## write the generated reference pages, and the site of all pages into ./site
	$(BIN)/python -m docs.generate
	$(BIN)/python -m sphinx -b html -c docs/site -W --keep-going -q docs site
	@echo "Open site/index.html"

sbom: $(VENV)/.dev ## write what it is made of: sbom.cdx.json (CycloneDX), and docs/reference/third-party.md
	$(BIN)/python -m docs.sbom sbom.cdx.json

lock: ## raise the pinned versions to the newest that fit
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/pip install --quiet --disable-pip-version-check -e '.[server,postgres,dev,docs]'
	.lock/bin/pip freeze --all --exclude pip --exclude-editable > constraints.txt
	rm -rf .lock

clean: ## remove .venv and caches, not the instance in ./var
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info build

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit("ikewarden needs Python 3.11 or later: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.server: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing ikewarden and what it needs into $(VENV); the first time it takes about a minute:"
	@set -o pipefail; $(PIP) --editable '.[server]' $(BRIEFLY)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing ikewarden and its development tools into $(VENV); the first time it takes some minutes:"
	@set -o pipefail; $(PIP) --editable '.[server,postgres,dev,docs]' $(BRIEFLY)
	@touch $@ $(VENV)/.server

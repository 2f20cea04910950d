# What people and CI run. Everything lands in .venv and .node inside this folder.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# The tests' second engine; transitive packages as they were on that day.
DYNALITE = dynalite@4.0.0 --before=2026-10-01
# What the benchmarks measure asyncrep against. dynamodump pins another boto3 than aioboto3 does.
COPY_DYNAMODB_TABLE = copy-dynamodb-table@2.2.1 --before=2026-10-01
DYNAMODUMP = dynamodump==1.11.1
# Numbers of items that `make bench-memory` measures; with 10000000 a row takes several minutes.
SIZES ?= 10000 100000 1000000
# Processes that tests run in: one more than there are cores, as a part of the tests is waiting.
TEST_PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types layers tests faults bench bench-memory bench-peers engines lambda clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo ## Install, then show everything on an embedded AWS
	$(BIN)/asyncrep demo

test: $(VENV)/.test ## Install, then run the tests
	$(BIN)/pytest -n $(TEST_PROCESSES)

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
	$(BIN)/pytest -n $(TEST_PROCESSES)

# More processes than cores: a part of these faults is waiting.
faults: $(VENV)/.test ## The whole fault suite: throttles, damage, expiry, full disks, kills, simulations (minutes)
	$(BIN)/pytest tests/faults tests/simulation tests/cli/test_cli_job_runs.py tests/integration/test_jobs_resumed.py \
		tests/replication/test_failover.py tests/replication/test_two_way.py -n 4 \
		-m "long or not long"

engines: .node/.dynalite ## Install the second engine for tests (needs npm)

# For a function on another processor or Python than this one (needs the package index):
#   make lambda LAMBDA='--platform manylinux2014_aarch64 --python-version 3.13'
lambda: $(VENV)/.demo ## Build dist/asyncrep-lambda.zip, the code of a Lambda function
	$(BIN)/python scripts/build_lambda.py $(LAMBDA)

bench: $(VENV)/.bench bench-peers ## Measure against the floor, boto3, stock aioboto3 and peers
	$(BIN)/python -m benchmarks.run

bench-memory: $(VENV)/.bench ## Peak memory at 10 thousand, 100 thousand and a million items
	$(BIN)/python -m benchmarks.run --memory --sizes $(SIZES)

# Rows of peers that are not installed are left out of the table, and said to be.
bench-peers: $(VENV)/.dynamodump
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory .node/.copy-dynamodb-table .node/.dynalite; \
	else echo "There is no npm: the rows of copy-dynamodb-table and dynalite will be left out."; fi

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

# A folder of its own: npm takes away what a package that it installs does not need.
.node/.copy-dynamodb-table:
	npm install --prefix .node/peers --no-save --no-audit --no-fund --loglevel=error $(COPY_DYNAMODB_TABLE)
	@touch $@

$(VENV)/.dynamodump: $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/peers/dynamodump
	$(VENV)/peers/dynamodump/bin/pip install --quiet --disable-pip-version-check $(DYNAMODUMP)
	@touch $@

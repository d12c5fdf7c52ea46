# One word for each thing to do here; `make help` lists them. Needs make and Python 3.11, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Two processes, each with a PostgreSQL of its own. `make check TESTS=` leaves the tests out.
TESTS ?= test

.DEFAULT_GOAL := help
.PHONY: help setup run test soak chaos check format-check lint types contracts format bench kafka asyncapi secrets lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the virtual environment from the locked versions

# Runs again only when the locked versions or the project's description changed.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $(READY)

run: $(READY) ## Start everything, post the sample, print a unified balance sheet, and serve the API
	$(BIN)/ledger demo

test: $(READY) ## Run all tests
	$(BIN)/pytest -n 2 --dist loadgroup

soak: $(READY) ## Run the random tests ten times as long: histories, damaged bundles, allocations against brute force
	SOAK=1 $(BIN)/pytest -n 2 tests/domain/test_identity_invariants.py tests/domain/test_money_invariants.py tests/test_bundle_mutations.py tests/planning/test_programme.py tests/planning/test_allocation.py

chaos: $(READY) ## Kill intakes, outlets, the broker and PostgreSQL under load, and count what came of 100,000 commands
	$(BIN)/python -m tests.kafka.chaos --commands 100000

check: format-check lint types contracts $(TESTS) ## The whole gate: format, lint, types, contracts, tests

format-check: $(READY)
	$(BIN)/ruff format --check

lint: $(READY) ## Lint
	$(BIN)/ruff check

types: $(READY) ## Check types
	$(BIN)/mypy

contracts: $(READY) ## Check who imports whom
	$(BIN)/lint-imports

format: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(READY) ## Measure, side by side with the floor and a peer
	$(BIN)/python -m bench

kafka: $(READY) ## Get Apache Kafka for tests and benchmarks (Maven and Java 17 are needed for it)
	$(BIN)/python -m tests.kafka.fetch

asyncapi: ## Get the official AsyncAPI schema, which a test compares with where it is there (needs npm)
	npm install --prefix .asyncapi --no-save --no-audit --no-fund --ignore-scripts @asyncapi/specs@6.11.1

secrets: ## Make the secret files of docker-compose.yml; those that are there stay
	sh deploy/secrets.sh

lock: ## Renew requirements.lock from pyproject.toml
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	echo '# Every version that the project runs and is tested with. Renew it with `make lock`.' > requirements.lock
	.venv-lock/bin/pip freeze --exclude-editable | LC_ALL=C sort -f >> requirements.lock
	rm -rf .venv-lock

clean: ## Remove what tools made (not the data in .ledger)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache

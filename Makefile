# The one entry. `make demo` and `make test` work first on a fresh clone; each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SHOP := examples/ecommerce
RUN := $(BIN)/python -m
# Compiled once, started many times: tests and demo start processes, and compiling takes them seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow lint format types proto servers bench lock clean help

help: ## What can be done here
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## Run the shop on http://localhost:8080
	@cd $(SHOP) && exec $(CURDIR)/$(BIN)/ecommerce demo

test: lint types servers ## Everything that must hold before a change lands
	$(RUN) pytest -m "not slow" -n 2 --dist loadgroup

test-slow: $(READY) servers ## The long forms: more kills, more schedules, figures printed
	$(RUN) pytest -m slow -s --timeout 1800

lint: $(READY) ## ruff, import-linter, and contracts in step with their generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	cd $(SHOP) && $(CURDIR)/$(BIN)/lint-imports
	$(BIN)/prodkit proto --check src/prodkit/v1 --root src
	$(BIN)/prodkit proto --check $(SHOP)/src/ecommerce --root $(SHOP)/src

types: $(READY)
	$(RUN) mypy

format: $(READY) ## Lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(READY) ## Compile the contracts
	$(BIN)/prodkit proto src/prodkit/v1 --root src
	$(BIN)/prodkit proto $(SHOP)/src/ecommerce --root $(SHOP)/src

servers: ## The server binaries that the tests need: none while everything is embedded
	@true

bench: $(READY) ## prodkit beside its floor, in one run
	$(RUN) benchmarks.http_stack

lock: $(READY) ## Renew the pinned requirements; they name no registry
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --upgrade \
	  --no-emit-index-url --generate-hashes --no-header -q -o requirements/dev.lock

clean: ## Remove what the targets above made
	rm -rf $(VENV) $(SHOP)/var .mypy_cache .ruff_cache .hypothesis

# uv comes by pip, pinned by hash as everything after it; a clone needs Python and a registry.
$(READY): requirements/bootstrap.lock requirements/dev.lock pyproject.toml $(SHOP)/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "prodkit needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e $(SHOP)
	@touch $@

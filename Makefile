# The one entry. `make demo` and `make test` work first on a fresh clone; each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The peers of the benchmarks live in an environment of their own: tests never see them.
BENCH := .venv-bench
BENCH_READY := $(BENCH)/.ready
# So do the tools of `make mutants`.
MUTANTS := .venv-mutants
MUTANTS_READY := $(MUTANTS)/.ready
# And those of `make docs`.
DOCS := .venv-docs
DOCS_READY := $(DOCS)/.ready
# What `make cover` runs; `make test` runs the rest after it.
COVERED := tests/unit/policies tests/unit/test_*.py tests/unit/stores/test_memory_*.py
SHOP := examples/ecommerce
RUN := $(BIN)/python -m
# Compiled once, started many times: tests and demo start processes, and compiling takes them seconds.
unexport PYTHONDONTWRITEBYTECODE
# uv believes whom pip believes: a company's proxy is known to the system alone.
export UV_SYSTEM_CERTS ?= true

.PHONY: demo demo-full test test-slow cover mutants lint format types proto example servers bench docs docs-serve lock clean help

help: ## What can be done here
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## Run the shop on http://localhost:8080
	@cd $(SHOP) && exec $(CURDIR)/$(BIN)/ecommerce demo

demo-full: $(READY) servers ## Run it on PostgreSQL, Redis and RabbitMQ, a process per service, behind nginx
	@cd $(SHOP) && exec $(CURDIR)/$(BIN)/ecommerce demo-full

test: $(READY) servers ## Everything that must hold before a change lands
	@$(MAKE) --no-print-directory --jobs 2 cover types lint
	$(RUN) pytest -m "not slow" -n 3 --dist loadgroup $(foreach path,$(wildcard $(COVERED)),--ignore=$(path))

test-slow: $(READY) servers ## The long forms: more kills, more schedules, figures printed
	$(RUN) pytest -m slow -s --timeout 1800
	$(RUN) pytest -m "not slow" --hypothesis-profile long --timeout 1800 tests/property

cover: $(READY) ## The unit tests of kernel and policies; every branch of both must be taken
	$(RUN) coverage run -m pytest -m "not slow" $(COVERED)
	$(RUN) coverage report

mutants: $(MUTANTS_READY) ## Thousands of changes to kernel and policies that tests must notice; half an hour
	$(MUTANTS)/bin/mutmut run --max-children 1 >mutants.log 2>&1 || { tail -n 40 mutants.log; exit 1; }
	$(MUTANTS)/bin/mutmut results | grep -v ': not checked' || true

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

example: $(READY) ## The shop in examples/ anew, from templates/
	$(BIN)/python tests/templates/example.py
	$(BIN)/prodkit proto $(SHOP)/src/ecommerce --root $(SHOP)/src

servers: ## The server binaries that the tests need
	@sh $(SHOP)/deploy/servers.sh

bench: $(BENCH_READY) servers ## prodkit beside its floor and its peers; writes docs/benchmarks
	$(BENCH)/bin/python -m benchmarks.http_stack
	$(BENCH)/bin/python -m benchmarks.policies
	$(BENCH)/bin/python -m benchmarks.behaviour
	$(BENCH)/bin/python -m benchmarks.engines
	$(RUN) benchmarks.orders

docs: $(DOCS_READY) ## The documentation, into site/: every link checked, nothing fetched from elsewhere
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

docs-serve: $(DOCS_READY) ## The documentation on http://localhost:8000, built anew as it is written
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs serve

lock: $(READY) ## Renew the pinned requirements; they name no registry
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --upgrade \
	  --no-emit-index-url --generate-hashes --no-header -q -o requirements/dev.lock
	$(BIN)/uv pip compile pyproject.toml --extra server --extra redis --extra sql --extra rabbitmq --group bench --universal --upgrade \
	  -c requirements/dev.lock --no-emit-index-url --generate-hashes --no-header -q -o requirements/bench.lock
	$(BIN)/uv pip compile pyproject.toml --extra sql --group mutants --universal --upgrade \
	  -c requirements/dev.lock --no-emit-index-url --generate-hashes --no-header -q -o requirements/mutants.lock
	$(BIN)/uv pip compile --group docs --universal --upgrade \
	  -c requirements/dev.lock --no-emit-index-url --generate-hashes --no-header -q -o requirements/docs.lock

clean: ## Remove what the targets above made
	rm -rf $(VENV) $(BENCH) $(MUTANTS) $(DOCS) site mutants mutants.log .coverage $(SHOP)/var .mypy_cache .ruff_cache .hypothesis

# uv comes by pip, pinned by hash as everything after it; a clone needs Python and a registry.
$(READY): requirements/bootstrap.lock requirements/dev.lock pyproject.toml $(SHOP)/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "prodkit needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e $(SHOP)
	@touch $@

$(BENCH_READY): $(READY) requirements/bench.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(BENCH)
	$(BIN)/uv pip install --quiet --python $(BENCH)/bin/python --compile-bytecode --require-hashes -r requirements/bench.lock
	$(BIN)/uv pip install --quiet --python $(BENCH)/bin/python --no-deps --no-build-isolation -e .
	@touch $@

$(MUTANTS_READY): $(READY) requirements/mutants.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(MUTANTS)
	$(BIN)/uv pip install --quiet --python $(MUTANTS)/bin/python --compile-bytecode --require-hashes -r requirements/mutants.lock
	$(BIN)/uv pip install --quiet --python $(MUTANTS)/bin/python --no-deps --no-build-isolation -e .
	@touch $@

$(DOCS_READY): $(READY) requirements/docs.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(DOCS)
	$(BIN)/uv pip install --quiet --python $(DOCS)/bin/python --compile-bytecode --require-hashes -r requirements/docs.lock
	@touch $@

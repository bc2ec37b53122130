# Everything runs in a virtual environment of its own, made at first use: nothing but Python 3.11 or
# later (with its venv module) and make is needed. Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.installed
TOOLS := $(VENV)/.installed-tools
BENCH := $(VENV)/.installed-bench
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test check docs campaign interop bench clean

help:
	@echo 'make demo       two folders of notes, kept in step before your eyes'
	@echo 'make test       the tests'
	@echo 'make check      formatting, style and types'
	@echo 'make docs       the documentation, into docs/_build/html'
	@echo 'make campaign   the long tests and measurements'
	@echo 'make interop    tests with SyncEvolution, which is installed if it is missing (Debian)'
	@echo 'make bench      what synchronising costs, beside what other programs take (ARGS=...)'
	@echo 'make clean      removes what the others made'

demo: $(BASE)
	$(BIN)/python scripts/demo.py

test: $(TOOLS)
	$(BIN)/python -m pytest -q -n auto

check: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(TOOLS)
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

campaign: $(TOOLS)
	$(BIN)/python -m pytest -q -n auto -m campaign

interop: $(TOOLS)
	@tests/interop/install.sh --check 2>/dev/null || tests/interop/install.sh
	@# other people's programs on a busy machine: what failed is tried once more, alone
	$(BIN)/python -m pytest -q -n auto -m interop tests/interop || \
	  $(BIN)/python -m pytest -q -m interop --last-failed --last-failed-no-failures none tests/interop

bench: $(BENCH)
	$(BIN)/python -m bench --json bench/results.json $(ARGS)
	$(BIN)/python -m pytest -q bench/functions

clean:
	rm -rf $(VENV) build dist docs/_build tests/interop/curlfix.so *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# What runs the programs, and what checks them. Each is installed again when the dependencies change.

$(BASE): pyproject.toml setup.py | $(VENV)/.made
	@echo 'Installing pysyncml and what it needs into $(VENV) ...'
	@$(PIP) install -e .
	@touch $@

$(TOOLS): $(BASE)
	@echo 'Installing the tools for tests and documentation into $(VENV) ...'
	@$(PIP) install -e '.[test,docs]'
	@touch $@

$(BENCH): $(TOOLS)
	@$(PIP) install -e '.[test,bench]'
	@touch $@

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null 2>&1 || \
	  { echo '$(PYTHON) was not found: install Python 3.11 or later, or name it: make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pysyncml needs Python 3.11 or later, but $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo 'The venv module of $(PYTHON) is missing: on Debian, apt install python3-venv.' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

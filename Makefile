# Sets approxhw up in this checkout and runs what a developer runs; `make help` lists it all.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup tools demo test lint style layers types pages format bench fuzz fuzz-readers clean distclean layout

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
# without the tests, the linters and PyTorch, which is large
USABLE  := $(VENV)/.usable
WORKERS ?= 2
# Where it is set, every process of a test would compile the modules that it imports, and each pytest worker all tests.
unexport PYTHONDONTWRITEBYTECODE
COUNT   ?= 1000
SEED    ?= 1
SECONDS_EACH ?= 0
DEMO    := build/demo
PACKAGES := iverilog g++ make
# The first interpreter that is new enough; `make setup PYTHON=/path/to/python3.12` chooses another one.
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && command -v "$$p" && break; done)

help:  ## list what can be made
	@echo 'make <target>'
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo 'variables: WORKERS=$(WORKERS) (test processes), COUNT=$(COUNT) SEED=$(SEED) (fuzz, fuzz-readers), SECONDS_EACH=$(SECONDS_EACH) (a reader, guided), PYTHON=$(PYTHON)'

setup: $(STAMP) tools  ## make .venv with approxhw, its tests and linters; install the Icarus simulator where that is allowed

$(STAMP): EXTRAS := test,lint
$(USABLE): EXTRAS := sklearn
$(STAMP) $(USABLE): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo 'make: no Python 3.11 or newer on PATH; name one: make setup PYTHON=/path/to/python3' >&2; exit 1; fi
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo 'make: $(PYTHON) cannot make an environment; on Debian run: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $(USABLE) $@

tools:
	@if command -v iverilog >/dev/null && command -v vvp >/dev/null && command -v g++ >/dev/null; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then may=no; \
	elif [ "$$(id -u)" = 0 ]; then may='env'; \
	elif sudo -n true 2>/dev/null; then may='sudo -n env'; else may=no; fi; \
	if [ "$$may" != no ]; then \
		echo 'installing $(PACKAGES) with apt-get'; \
		{ $$may DEBIAN_FRONTEND=noninteractive apt-get update -qq && \
		  $$may DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) ccache; } </dev/null >/dev/null || true; \
	fi; \
	if ! command -v iverilog >/dev/null || ! command -v g++ >/dev/null; then \
		echo 'make: Icarus Verilog (iverilog) or g++ is missing, and may not be installed from here. Run this, then make again:' >&2; \
		echo '    sudo apt-get install $(PACKAGES)' >&2; exit 1; \
	fi

demo: $(USABLE) tools  ## compile examples/breast_cancer.onnx: simulated on both simulators, measured, with a report
	$(BIN)/approxhw compile examples/breast_cancer.onnx --data sklearn:breast_cancer --target printed -o $(DEMO) --require-tools
	@echo; echo "the report: file://$(CURDIR)/$(DEMO)/report.html"; echo "next: . $(BIN)/activate && approxhw --help"

test: setup  ## run the whole test suite, the slow tests too
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGUMENTS)

lint: style layers types  ## check style, formatting, layers and types

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

layers: $(STAMP) layout
	cd build/layout && ../../$(BIN)/lint-imports --no-logo --config ../../.importlinter --cache-dir ../../.import_linter_cache

types: $(STAMP) layout
	cd build/layout && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p approxhw

# A copy of the package as it is installed: linters do not know setuptools' package-dir map, which says that
# approxhw.sim is sim/ and so on. tests/project checks that this target and that map say the same.
layout:
	@rm -rf build/layout && mkdir -p build/layout
	@cp -R approxhw build/layout/approxhw
	@cp -R frontends passes backends rtl_templates sim build/layout/approxhw/

pages: $(STAMP)  ## make the tables of docs/ that are made of the code anew
	$(BIN)/python -c 'from pathlib import Path; from approxhw.cli.main import COMMANDS; \
	from approxhw.cli.parameters.tables import page_with_tables as made; page = Path("docs/cli.md"); \
	page.write_text(made(page.read_text(encoding="utf-8"), COMMANDS), encoding="utf-8")'
	$(BIN)/python benchmarks/tried.py

format: $(STAMP)  ## let ruff put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## run every benchmark; each writes its figures to benchmarks/results/
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

fuzz: setup  ## COUNT random networks from SEED on: interpreter = Icarus = Verilator = netlist
	$(BIN)/approxhw fuzz --count $(COUNT) --seed $(SEED)

fuzz-readers: $(STAMP)  ## COUNT mutated files from SEED on for every reader; SECONDS_EACH=60: guided by coverage instead (atheris)
	$(BIN)/python tests/helpers/fuzzing/fuzz_readers.py --count $(COUNT) --seed $(SEED) --seconds $(SECONDS_EACH)

clean:  ## remove what was made, except the environment
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean  ## remove the environment too
	rm -rf $(VENV)

# Every target creates the environment on first use and reuses it afterwards.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONSTRAINTS ?= constraints.txt
OUT ?= runs

# Whoever sets HYPEEG_DATA has `make run` train on the recordings in it as well. Tests and
# benchmarks also find them in a folder beside the repository.
RUN_SPECS := quickstart $(if $(HYPEEG_DATA),physionet_s001)
ifeq ($(HYPEEG_DATA),)
HYPEEG_DATA := $(wildcard $(CURDIR)/../shared/data)
endif
ifneq ($(HYPEEG_DATA),)
export HYPEEG_DATA := $(abspath $(HYPEEG_DATA))
endif

.PHONY: help setup run test test-slow app bench results lint format clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(STAMP): pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[dev]'
	touch $@

setup: $(STAMP)  ## create the environment

run: $(STAMP)  ## train on the embedded data set (and, with HYPEEG_DATA set, on recordings)
	set -e; for spec in $(RUN_SPECS); do $(BIN)/hypeeg run pipelines/$$spec.yaml --out $(OUT); done

lint: $(STAMP)  ## style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: lint  ## lint and all tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: $(STAMP)  ## the slow tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

bench: $(STAMP)  ## measure what README and docs claim
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[bench]'
	set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script; done

results: $(STAMP)  ## run the studies that have not been run and write docs/results.md (hours)
	$(BIN)/hypeeg results docs/results.yaml --out $(OUT)/results

app: $(STAMP)  ## open the dashboard
	$(BIN)/hypeeg app --runs $(OUT)

format: $(STAMP)  ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove caches (not the environment, not the runs)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

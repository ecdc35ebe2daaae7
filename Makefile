# Everything that a person types. Each target does its own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format bench clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)  ## train on the digits that come with scikit-learn, measure, and write a report
	@$(BIN)/selfsight run digits --epochs 100 --out runs/demo

test: $(STAMP)  ## all tests but the slow ones
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

test-slow: $(STAMP)  ## the slow tests
	@$(BIN)/python -m pytest -q -m slow

lint: $(STAMP)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP)  ## ruff's formatter and safe fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## remove what a build or a test leaves; runs/ stays
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

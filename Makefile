# Everything that a person types. Each target does its own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format stub notebooks bench clean

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

stub: $(STAMP)  ## src/selfsight/__init__.pyi, after a change of the settings of a verb
	@$(BIN)/python tests/stub.py

notebooks: $(STAMP)  ## execute the notebooks and keep their outputs
	@$(BIN)/python notebooks/execute.py

# lightly, timm and kornia need torchvision, whose binaries are of one torch build: none of what is
# measured calls them, so it goes in without its dependencies beside the torch that is pinned.
BENCH := .venv-bench
$(BENCH)/.installed: pyproject.toml constraints.txt benchmarks/requirements.txt
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@echo "Installing into $(BENCH) ..."
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-r benchmarks/requirements.txt
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		torchvision lightly==1.6.0 lightly-utils timm==1.0.31
	@touch $@

bench: $(BENCH)/.installed  ## speed beside lightly, kornia, timm and scikit-learn; over an hour
	@$(BENCH)/bin/python benchmarks/table.py

clean:  ## remove what a build or a test leaves; runs/ stays
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

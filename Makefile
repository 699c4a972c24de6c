# make demo   environment, then the main job on the embedded digits
# make test   environment, then all tests but the long ones
# make quick  environment, then the tests that take no seconds each
# make examples  environment, then the long tests: pages of the docs, a hundred kills, honest nets
# make fuzz   environment, then 10,000 mutations of each file format
# make lint   environment, then style, types and the floors of the house
# make docs   environment, then the tables of every page, the README's picture, the site in site/
# make bench  environment, then the speed benchmarks at small size; results in runs/bench

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.ready-docs

# MNIST as the command takes it: a folder, a file, or the Hub (pip install hauberk[hub])
DATA ?= hub:ylecun/mnist

.PHONY: demo test quick examples fuzz lint format docs bench clean

demo: $(READY)
	$(BIN)/hauberk demo

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not long"

quick: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

examples: $(READY)
	$(BIN)/python -m pytest -m long

fuzz: $(READY)
	$(BIN)/python -W ignore -m tests.fuzz all --mutations 10000

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(DOCS_READY)
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/pictures.py
	$(BIN)/zensical build --strict

bench: export OMP_NUM_THREADS = 1
bench: $(READY)
	$(BIN)/python -m benchmarks.speed.attack --small --data $(DATA)
	$(BIN)/python -m benchmarks.speed.step --small
	$(BIN)/python -m benchmarks.speed.memory --small
	$(BIN)/python -m benchmarks.speed.growth --small
	$(BIN)/python -m benchmarks.speed.evaluation --small --data $(DATA)
	$(BIN)/python -m benchmarks.speed.projections --small
	$(BIN)/python -m benchmarks.speed.codec --small

clean:
	rm -rf $(VENV) runs site

# torch first: an unpinned one would pull gigabytes
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hauberk needs Python 3.11 or newer; run make PYTHON=python3.11 or newer."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade-strategy only-if-needed -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $(READY)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	@touch $(DOCS_READY)

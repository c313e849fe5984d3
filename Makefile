# Every target works alone on a fresh machine: it makes .venv and installs what it needs at the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo course classic test lint format docs clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo    install, run the main experiment on handwritten digits, say where its report is"
	@echo "make course  a quick tour: every experiment of the course on small data, one document, under 20 minutes"
	@echo "make classic the course at its own scale, on MNIST, about an hour and a half; again: it goes on where it stopped"
	@echo "make test    install, then ruff, pyrefly and pytest with doctests"
	@echo "make lint    ruff and pyrefly alone"
	@echo "make format  put the sources into the project's format"
	@echo "make docs    build the documentation into docs/_build/html"
	@echo "make clean   remove .venv and everything that was built"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Thalweg needs Python 3.11 or newer; name one with make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch goes first: with it in place, no other package's wider range can bring in another build.
$(VENV)/.installed-base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed-base
	$(PIP) --editable '.[$*]'
	@touch $@

demo: $(VENV)/.installed-base
	$(BIN)/thalweg run trajectory

course: $(VENV)/.installed-base
	$(BIN)/thalweg course --preset quick

classic: $(VENV)/.installed-base
	$(BIN)/thalweg data fetch mnist
	$(BIN)/thalweg course --preset course

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

clean:
	rm -rf $(VENV) docs/_build docs/gallery docs/experiments build dist .pytest_cache .ruff_cache .hypothesis

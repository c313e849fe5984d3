# Every target works alone on a fresh machine: it makes .venv and installs what it needs at the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo course test lint format docs clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo    install, run the main experiment on handwritten digits, say where its report is"
	@echo "make course  run every experiment of the course in under 20 minutes, say where the document of all of them is"
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

# In the order in which the document has them. One that fails does not keep the others from it.
COURSE := function-fit image-fit trajectory gradient-norm zero-gradient error-surface \
	random-labels capacity interpolation sensitivity sharpness edge-of-stability spectrum

course: $(VENV)/.installed-base
	@mkdir -p runs; said=runs/.course; runs=; failed=; \
	for one in $(COURSE); do \
		if $(BIN)/thalweg run $$one > $$said; then \
			cat $$said; runs="$$runs $$(sed -n 's|^report: \(.*\)/report.html$$|\1|p' $$said)"; \
		else \
			failed="$$failed $$one"; \
		fi; \
	done; \
	rm -f $$said; \
	if [ -n "$$runs" ]; then $(BIN)/thalweg report $$runs --course || failed="$$failed report"; fi; \
	if [ -n "$$failed" ]; then echo "make course: failed:$$failed" >&2; exit 1; fi

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

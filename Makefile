# Trainable at Any Depth: `make book` and `make test` are all a newcomer needs.

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
PY := $(VENV)/bin/python

# Kernels and tests compute with one thread each; they run side by side.
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help book test install lint types format mutants seeds verify-stored ten-thousand bench clean lock

help: ## print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

book: install ## execute what changed and build the site to _build/html
	@$(PY) tools/book.py run site

test: install lint types ## everything: style, types, the chapters and their claims, the site, unit tests, doctests
	@$(PY) tools/book.py run site
	@$(PY) -m pytest -n auto

lint: install ## style of the code
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: install ## types of the package
	@$(PY) -m mypy

install: $(VENV)/installed ## make .venv with the pinned packages and this package, editable

# The stamp is written last. Without it, or with newer requirements, the environment is made afresh, so that an
# interrupted installation leaves nothing behind.
$(VENV)/installed: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "'$(PYTHON)' is not there: install Python 3.11 to 3.14, or name one: make PYTHON=/path/to/python $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { echo "The book needs Python 3.11 to 3.14; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=/path/to/python $(MAKECMDGOALS)"; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "installing the pinned packages into $(VENV) (a minute or so; longer where torch comes with CUDA)"
	@$(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

format: install ## format the code, that of the pages included
	@$(PY) -m ruff check --fix --quiet .
	@$(PY) -m ruff format --quiet .
	@$(VENV)/bin/jupytext --quiet --pipe "$(VENV)/bin/ruff format --line-length 88 -" chapters/*.md appendices/*.md

mutants: install ## break theory, nets and measurements one at a time: every claim must notice (minutes)
	@$(PY) tools/mutants.py

seeds: install ## run every chapter at twenty fresh base seeds: every claim must hold (minutes)
	@$(PY) tools/seeds.py

verify-stored: install ## run one random cell of each stored result again: it must come out as before (minutes)
	@$(PY) tools/stored.py verify

ten-thousand: install ## train a plain network of 10,000 layers, and its frozen twin (minutes)
	@$(PY) tools/ten_thousand.py

bench: install ## measure what is fast, against whom, into benchmarks/README.md (minutes, on a quiet machine)
	@$(PY) benchmarks/run.py

lock: install ## pin again what requirements.in asks for (needs uv)
	@{ echo "# The environment of the book, every package pinned. Made by \`make lock\` from requirements.in: edit that file."; \
	   echo "# torch brings its own CUDA packages where it needs them; they are left to it."; \
	   uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header requirements.in \
	     | grep -v -E '^(nvidia-|cuda-|triton)'; } > requirements.partial
	@mv requirements.partial requirements.txt

clean: ## remove everything that was built, but not the environment
	@rm -rf _build _stage .pytest_cache .mypy_cache .ruff_cache

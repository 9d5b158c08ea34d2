# Every target works from a bare clone: it makes .venv when that is missing or out of date.

PYTHON ?= $(shell python3.11 -c 'print("python3.11")' 2>/dev/null || echo python3)

# Seconds that one cell may take, here and in make chapters.
CELL_TIMEOUT := 120

# The kernels run in the notebooks' folder, so a relative folder of ratings would be missed.
ifneq ($(MFLIB_DATA),)
override MFLIB_DATA := $(if $(filter /% ~%,$(MFLIB_DATA)),,$(CURDIR)/)$(MFLIB_DATA)
export MFLIB_DATA
endif

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READER := .venv/reader.stamp
# npm writes this file last; it takes the place of a stamp.
KATEX := requirements/node_modules/.package-lock.json
TESTER := .venv/tester.stamp

.DEFAULT_GOAL := help
.PHONY: help book pdf test live chapters weights bench mutation lock clean
.DELETE_ON_ERROR:

help:
	@echo "make book      build the site in _build/html; a warning is an error"
	@echo "make pdf       build the site, and print it as one PDF beside its pages"
	@echo "make test      run every check, as CI does"
	@echo "make live      open the chapters in JupyterLab, for teaching"
	@echo "make chapters  run every notebook again and store its outputs"
	@echo "make weights   print how heavy and how fast the pages of the site are"
	@echo "make bench     measure mflib against other libraries (half an hour, a quiet machine)"
	@echo "make mutation  break mflib on purpose, and count what the tests see"
	@echo "make lock      write requirements/constraints.txt anew from the pins"
	@echo "make clean     remove the site, the environment and the caches"
	@echo
	@echo "MFLIB_DATA=folder  where your copies of the MovieLens data are"
	@echo "PYTHON=python3.12  the Python (3.11 or newer) to make the environment with"

# From a clean folder: after a failed build, an incremental one hides its warnings.
book: $(READER) $(KATEX)
	@echo "Building the site"
	@rm -rf _build
	@$(BIN)/jupyter-book build . -W -n --keep-going -q

pdf: $(TESTER) book
	@echo "Printing the book"
	@$(BIN)/python tools/pdf.py

test: $(TESTER) $(KATEX)
	@echo "1/8 Code and notebooks: ruff check"
	@$(BIN)/ruff check --quiet .
	@echo "2/8 Code and notebooks: ruff format"
	@$(BIN)/ruff format --quiet --check .
	@echo "3/8 Types: mypy"
	@$(BIN)/mypy
	@echo "4/8 Unit, property and gate tests, and the branches of mflib they take: pytest, coverage"
	@$(BIN)/python -m coverage run -m pytest -q -rs
	@$(BIN)/python -m coverage report
	@echo "5/8 Notebooks are canonical, executed and clean"
	@$(BIN)/python tools/chapters.py --check
	@echo "6/8 Every cell runs and gives the stored outputs and figures: pytest --nbval"
	@$(BIN)/python -m pytest -q -rs -p tests.nbval_gate --nbval --nbval-current-env \
	    --nbval-cell-timeout=$(CELL_TIMEOUT) chapters
	@echo "7/8 The site builds without a warning"
	@$(MAKE) --no-print-directory book
	@echo "8/8 The built site in a browser: pytest -m browser"
	@$(BIN)/python -m pytest -q -rs -m browser tests/browser
	@echo "All checks passed."

live: $(READER)
	@echo "Opening JupyterLab on the chapters (stop it with Ctrl-C)"
	@$(BIN)/jupyter lab chapters

chapters: $(READER)
	@echo "Running every notebook"
	@$(BIN)/python tools/chapters.py --timeout $(CELL_TIMEOUT)
	@$(BIN)/python -m tools.title

weights: $(TESTER) book
	@$(BIN)/python -m tools.weights

# Each library in an environment of its own, below .venv-bench; then make chapters for the page.
bench: $(READER)
	@echo "Measuring mflib against other libraries: leave the machine alone until it is done"
	@$(BIN)/python -m bench.run

# The tool and all that the tests need, in an environment of its own.
mutation: .venv-mutation/stamp
	@echo "Breaking mflib on purpose, to see the tests fail"
	@rm -rf mutants
	@OMP_NUM_THREADS=1 .venv-mutation/bin/mutmut run
	@.venv-mutation/bin/mutmut results

# Pins first (requirements.txt, requirements/*.txt), then this: all else, as pip resolves it.
lock:
	@echo "Resolving every package anew, in a new .venv"
	@rm -rf .venv && : > requirements/constraints.txt
	@$(MAKE) --no-print-directory $(TESTER)
	@$(PIP) freeze --exclude-editable | sed 's/+cpu$$//' > requirements/constraints.txt
	@touch $(READER) $(TESTER)

clean:
	rm -rf _build .venv .venv-mutation mutants requirements/node_modules .*_cache .hypothesis .coverage *.egg-info

$(READER): requirements.txt requirements/constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "The book needs Python 3.11 or newer, and '$(PYTHON)' is not that." \
	         "Name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing what the book needs into .venv (some minutes the first time)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PIP) install -qq -r requirements.txt
	@touch $@

# The lock gives versions and checksums; where packages come from is npm's own setting.
$(KATEX): requirements/package.json requirements/package-lock.json | $(READER)
	@echo "Installing KaTeX into requirements/node_modules"
	@$(BIN)/npm ci --prefix requirements --ignore-scripts --no-audit --no-fund \
	    --silent --no-update-notifier
	@touch $@

.venv-mutation/stamp: requirements.txt requirements/test.txt requirements/mutation.txt
	@echo "Installing what mutation testing needs into .venv-mutation"
	@$(PYTHON) -m venv --clear .venv-mutation
	@.venv-mutation/bin/python -m pip --disable-pip-version-check install -qq \
	    -r requirements/mutation.txt
	@touch $@

$(TESTER): $(READER) requirements/test.txt requirements/browser.txt
	@echo "Installing what the tests need into .venv"
	@$(PIP) install -qq -r requirements/browser.txt
	@touch $@

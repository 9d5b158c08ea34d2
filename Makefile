# Every target works from a bare clone: it makes .venv when that is missing or out of date.

PYTHON ?= $(shell python3.11 -c 'print("python3.11")' 2>/dev/null || echo python3)

# Seconds that one cell may take, here and in make chapters.
CELL_TIMEOUT := 120

# The kernels run in the notebooks' folder, so the path must be absolute.
ifneq ($(MFLIB_DATA),)
override MFLIB_DATA := $(if $(filter /% ~%,$(MFLIB_DATA)),,$(CURDIR)/)$(MFLIB_DATA)
export MFLIB_DATA
endif

# A reader's settings that would skip asserts, turn warnings into errors, or draw no figures
unexport PYTHONOPTIMIZE PYTHONWARNINGS MPLBACKEND

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READER := .venv/reader.stamp
# npm writes this file last, so it serves as a stamp.
KATEX := requirements/node_modules/.package-lock.json
NPM_CI := npm ci --prefix requirements --ignore-scripts --no-audit --no-fund \
    --silent --no-update-notifier
TESTER := .venv/tester.stamp
AUDITOR := .venv-audit/stamp
# Chapters that make test runs a second time, with disturbed arithmetic; make robust does all
TWICE := $(addprefix --chapter ,$(wildcard chapters/0[1-5]-*.ipynb))
# Unit tests of mflib that compute
ARITHMETIC := $(addprefix tests/test_,$(addsuffix .py,als gibbs model penalties prior ratings sparse synthetic torch_state training))
# What make live opens
BOOK ?= chapters
# How often make steady runs the chapters
TIMES ?= 10

.DEFAULT_GOAL := help
.PHONY: help book pdf test live chapters korean weights bench conventions scale robust steady newest \
    arm audit mutation lock clean
.DELETE_ON_ERROR:

help:
	@echo "make book      build the site in _build/html, in both languages; a warning is an error"
	@echo "make pdf       build the site, and print each edition as one PDF beside its pages"
	@echo "make test      run every check, as CI does"
	@echo "make live      open the chapters in JupyterLab, for teaching"
	@echo "make chapters  run every notebook again, store its outputs, and count its minutes"
	@echo "make korean    copy code and outputs into the Korean chapters, and say what is stale"
	@echo "make weights   measure the site's pages: size, and time beside a stock Jupyter Book's"
	@echo "make bench     benchmark mflib against other libraries (more than an hour, on an idle machine)"
	@echo "make conventions  measure what the penalty of each library means (NEWEST=1: newest versions)"
	@echo "make scale     fit by Spark's ALS in two worker processes, and kill one (needs Java)"
	@echo "make robust    test the chapters with other threads, processors, time zones and orders"
	@echo "make steady    test the chapters ten times in a row (TIMES=10)"
	@echo "make newest    test with the newest versions of the pinned packages"
	@echo "make arm       test mflib and two chapters on 64-bit ARM, emulated (slow; Debian)"
	@echo "make audit     look up known vulnerabilities of the pinned packages (needs the network)"
	@echo "make mutation  break mflib on purpose, and count what the tests detect"
	@echo "make lock      resolve the pins again into requirements/constraints.txt"
	@echo "make clean     remove the site, the environment and the caches"
	@echo
	@echo "MFLIB_DATA=folder  where your copies of the MovieLens data are"
	@echo "BOOK=ko/chapters   the Korean notebooks, for make live"
	@echo "PYTHON=python3.12  the Python for the environment (3.11 or newer)"

# From a clean folder: after a failed build, an incremental one hides its warnings.
book: $(READER) $(KATEX)
	@echo "Building both editions at once"
	@rm -rf _build
	@$(BIN)/python -m tools.korean_site _build/ko & \
	    $(BIN)/jupyter-book build . -W -n --keep-going -q; english=$$?; \
	    wait $$! && exit $$english
	@mv _build/ko/_build/html _build/html/ko
	@rm -r _build/ko
	@$(BIN)/python -m tools.content_policy

pdf: $(TESTER) book
	@echo "Printing the book"
	@$(BIN)/python -m tools.pdf

test: $(TESTER) $(KATEX)
	@echo "1/9 Code and notebooks: ruff check"
	@$(BIN)/ruff check --quiet .
	@echo "2/9 Code and notebooks: ruff format"
	@$(BIN)/ruff format --quiet --check .
	@echo "3/9 Types: mypy"
	@$(BIN)/mypy
	@echo "4/9 Unit, property and gate tests, with branch coverage of mflib: pytest, coverage"
	@OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -q -rs -n 2 --dist loadfile
	@$(BIN)/python -m coverage combine -q
	@$(BIN)/python -m coverage report
	@echo "5/9 Notebooks are canonical, executed and clean"
	@$(BIN)/python tools/chapters.py --check
	@echo "6/9 Every cell runs and gives the stored outputs and figures: pytest --nbval"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -n 2 --dist loadfile \
	    -p tests.nbval_gate --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) chapters
	@echo "7/9 Chapters 1 to 5 hold with the last digit of their arithmetic disturbed"
	@OMP_NUM_THREADS=1 $(BIN)/python -m tools.robust --timeout 600 --workers 2 $(TWICE) rounding
	@echo "8/9 The site builds without a warning"
	@$(MAKE) --no-print-directory book
	@echo "9/9 The built site in a browser: pytest -m browser"
	@$(BIN)/python -m pytest -q -rs -n 3 --dist worksteal -m browser tests/browser
	@echo "All checks passed."

live: $(READER)
	@echo "Opening JupyterLab on the chapters (stop it with Ctrl-C)"
	@$(BIN)/jupyter trust chapters/*.ipynb $(wildcard ko/chapters/*.ipynb) > /dev/null
	@$(BIN)/jupyter lab $(BOOK)

chapters: $(READER)
	@echo "Running every notebook"
	@$(BIN)/python tools/chapters.py --timeout $(CELL_TIMEOUT)
	@$(BIN)/python -m tools.title
	@$(BIN)/python -m tools.small_figures
	@$(BIN)/python -m tools.reading --write

korean: $(READER)
	@echo "Copying code and outputs into the Korean chapters"
	@$(BIN)/python -m tools.korean

weights: $(TESTER) book
	@$(BIN)/python -m tools.weights

# Each library in an environment of its own, below .venv-bench; then make chapters for the page.
bench: $(READER)
	@echo "Benchmarking mflib against other libraries: leave the machine idle until this is done"
	@$(BIN)/python -m bench.run

# Both in environments of their own, below .venv-bench; then make chapters for the page.
conventions: $(READER)
	@echo "Measuring what the penalty of each library means"
	@$(BIN)/python -m bench.conventions $(if $(NEWEST),--newest)

scale: $(READER)
	@echo "Fitting by Spark's ALS in two worker processes"
	@$(BIN)/python -m bench.scale

robust: $(TESTER)
	@echo "Testing the chapters under other settings"
	@$(BIN)/python -m tools.robust --timeout 600
	@echo "Unit tests with the last digit of their arithmetic disturbed"
	@$(BIN)/python -m pytest -q -rs -p tools.rounding $(ARITHMETIC)

steady: $(TESTER)
	@echo "Testing the chapters $(TIMES) times in a row"
	@$(BIN)/python -m tools.robust --timeout $(CELL_TIMEOUT) --times $(TIMES) plain

# The pins as lower bounds, and no constraints. Printed tables may look different under newer
# packages, so only the chapters' asserts count.
NEW := .venv-newest/bin
newest:
	@echo "Installing the newest versions into .venv-newest (some minutes)"
	@rm -rf .venv-newest && $(PYTHON) -m venv .venv-newest
	@sed -n 's/^\([A-Za-z].*\)==/\1>=/p' requirements.txt requirements/test.txt \
	    > .venv-newest/bounds.txt
	@$(NEW)/python -m pip --disable-pip-version-check install -qq -e . 'jupyter-book<2' \
	    -r .venv-newest/bounds.txt
	@$(NEW)/$(NPM_CI)
	@echo "Unit, property and gate tests"
	@$(NEW)/python -m pytest -q -rs -W default
	@echo "Every cell runs"
	@$(NEW)/python -m pytest -q -rs -W default -p tests.nbval_gate --nbval-lax \
	    --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) chapters

# 64-bit ARM on an x86 machine: Debian's Python for it, run by qemu. Nothing is installed outside
# .venv-arm. There, python is a script that starts qemu, so that sys.executable is emulated as well.
ARM := $(CURDIR)/.venv-arm
ARM_APT := apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 \
    -o APT::Architectures::=amd64 -o APT::Sandbox::User=root -o Dir::State=$(ARM)/apt \
    -o Dir::State::status=/dev/null -o Dir::Cache=$(ARM)/apt
# From 2.11 on, PyPI's builds of PyTorch for ARM come with gigabytes of CUDA libraries.
ARM_TORCH := torch==2.10.0
ARM_PIP := $(PIP) install -qq --only-binary=:all: $(addsuffix _aarch64,$(addprefix \
    --platform=manylinux,_2_28 _2_27 _2_26 _2_24 _2_17 2014))
ARM_TESTS := $(ARITHMETIC) $(addprefix tests/test_,files.py hostile.py how_do_i.py movielens.py)
ARM_CHAPTERS := $(wildcard chapters/0[15]-*.ipynb)

arm: $(ARM)/stamp
	@echo "Unit tests of mflib, and chapters 1 and 5, on 64-bit ARM (slow)"
	@PYTHONPATH=$(CURDIR) OMP_NUM_THREADS=1 $(ARM)/bin/python -m pytest -q -rs -n auto \
	    --dist loadfile -p tests.nbval_gate --nbval --nbval-current-env \
	    --nbval-kernel-startup-timeout=600 --nbval-cell-timeout=3600 $(ARM_CHAPTERS) $(ARM_TESTS)

# Strict: a package that is not in the database is a failure too.
audit: $(AUDITOR) $(KATEX)
	@failed=; \
	for pins in requirements/constraints.txt requirements/audit.txt; do \
	    echo "Known vulnerabilities in $$pins: pip-audit"; \
	    .venv-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off \
	        -r $$pins 2>.venv-audit/log || { tail -n 1 .venv-audit/log; failed=1; }; \
	done; \
	echo "Known vulnerabilities in requirements/package-lock.json: npm audit"; \
	$(BIN)/npm audit --prefix requirements || failed=1; \
	[ -z "$$failed" ] || { echo "The audit failed: it found the vulnerabilities named above," \
	    "or could not reach the databases over the network."; exit 1; }

# The tool and all that the tests need, in an environment of its own.
mutation: .venv-mutation/stamp
	@echo "Breaking mflib on purpose, to see the tests fail"
	@rm -rf mutants
	@OMP_NUM_THREADS=1 .venv-mutation/bin/mutmut run
	@.venv-mutation/bin/mutmut results
	@.venv-mutation/bin/mutmut export-cicd-stats
	@.venv-mutation/bin/python -m tools.mutation mutants/mutmut-cicd-stats.json

# Edit the pins first (requirements.txt, requirements/*.txt): this resolves everything else.
lock:
	@echo "Resolving every package anew, in a new .venv"
	@rm -rf .venv && : > requirements/constraints.txt
	@$(MAKE) --no-print-directory $(TESTER)
	@$(PIP) freeze --exclude-editable | sed 's/+cpu$$//' > requirements/constraints.txt
	@touch $(READER) $(TESTER)

clean:
	rm -rf _build .venv .venv-arm .venv-audit .venv-bench .venv-mutation .venv-newest mutants \
	    requirements/node_modules .*_cache .hypothesis .coverage* *.egg-info

$(READER): requirements.txt requirements/constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "The book needs Python 3.11 or newer, and '$(PYTHON)' is older or missing." \
	         "Choose another: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing what the book needs into .venv (some minutes the first time)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PIP) install -qq -r requirements.txt
	@touch $@

# The lock gives versions and checksums; where packages come from is npm's own setting.
$(KATEX): requirements/package.json requirements/package-lock.json | $(READER)
	@echo "Installing KaTeX into requirements/node_modules"
	@$(BIN)/$(NPM_CI)
	@touch $@

.venv-mutation/stamp: requirements.txt requirements/test.txt requirements/mutation.txt
	@echo "Installing what mutation testing needs into .venv-mutation"
	@$(PYTHON) -m venv --clear .venv-mutation
	@.venv-mutation/bin/python -m pip --disable-pip-version-check install -qq \
	    -r requirements/mutation.txt
	@touch $@

# A processor without SVE, which qemu emulates at a third of the speed of NEON. PyTorch without its
# dependencies, which arm.txt names: pip would choose them for this machine's processor, with CUDA.
$(ARM)/stamp: requirements/arm.txt requirements/constraints.txt | $(READER)
	@echo "Installing 64-bit ARM's Python and PyTorch into .venv-arm (some minutes)"
	@rm -rf $(ARM) && mkdir -p $(ARM)/apt/lists/partial $(ARM)/apt/archives/partial
	@$(ARM_APT) update
	@$(ARM_APT) install -y --download-only --no-install-recommends \
	    python3 libstdc++6 libgomp1 qemu-user-static:amd64
	@for package in $(ARM)/apt/archives/*.deb; do dpkg -x $$package $(ARM)/debian || exit; done
	@printf '#!/bin/sh\nexec %s -cpu neoverse-n1 -L %s -0 "$$0" %s "$$@"\n' \
	    $(ARM)/debian/usr/bin/qemu-aarch64-static $(ARM)/debian $(ARM)/debian/usr/bin/python3 > $(ARM)/python
	@chmod +x $(ARM)/python && $(ARM)/python -m venv --without-pip $(ARM)
	@sed '/^torch==/d' requirements/constraints.txt > $(ARM)/constraints.txt
	@version="$$($(ARM)/python -c 'import platform; print(platform.python_version())')"; \
	set -- --python-version "$$version" --target $(ARM)/lib/python3*/site-packages; \
	$(ARM_PIP) "$$@" --no-deps $(ARM_TORCH) && \
	$(ARM_PIP) "$$@" -c $(ARM)/constraints.txt -r requirements/arm.txt
	@touch $@

$(TESTER): $(READER) requirements/test.txt requirements/browser.txt
	@echo "Installing what the tests need into .venv"
	@$(PIP) install -qq -r requirements/browser.txt
	@touch $@

$(AUDITOR): requirements/audit.txt
	@echo "Installing pip-audit into .venv-audit"
	@$(PYTHON) -m venv --clear .venv-audit
	@.venv-audit/bin/python -m pip --disable-pip-version-check install -qq --no-deps -r $<
	@touch $@

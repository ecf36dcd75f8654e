# hdpainter-nb. `make` alone says what there is.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8888
BROWSER ?= yes
PYTEST_ARGS ?=
MINUTES ?= 60
TRIPLETS ?= 40
# Tests share the cores between processes of one thread each, four at most: each has a torch.
# (nproc would take OMP_NUM_THREADS for the number of cores.)
WORKERS ?= $(shell n=$$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))
START ?= notebooks/00_start_here.ipynb

BIN := $(VENV)/bin
LOWEST := $(VENV)-lowest
PINS := $(VENV)-pins
AUDIT := $(VENV)-audit
# Stamps: written when an installation succeeded, out of date when what it read has changed.
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
READY_LOWEST := $(LOWEST)/.ready
LOWEST_TOOLS := beartype peft pytest pytest-xdist hypothesis

SOURCES := hdpainter_nb widgets tests benchmarks .ci
PIP := -m pip --disable-pip-version-check install --quiet
# Pins hold for the tools that pip builds with, too, which it installs apart.
PINNED := PIP_CONSTRAINT=constraints-dev.txt PIP_BUILD_CONSTRAINT=constraints-dev.txt
PINNED_LOWEST := $(subst dev,lowest,$(PINNED))
# Tests never ask the network, and pictures need no screen.
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 MPLBACKEND=agg
# One thread a process, MKL's own included: more threads than cores wait for each other in loops, and
# everything takes ten times as long.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Side by side: single tests, and whole files of cells that need each other's order.
TESTS = $(OFFLINE) $(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
NOTEBOOKS = $(OFFLINE) $(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
	--nbval-lax --nbval-current-env --nbval-cell-timeout=600 -o faulthandler_timeout=0
# Before a recipe of one line: says at its end how long it took. `.ci/run` gathers these lines.
TIMED = start=$$(date +%s); \
	trap 'echo "== $@ took $$(($$(date +%s) - start)) s"' EXIT;
NPM_QUIET := --no-audit --no-fund --loglevel=error
NPM_INSTALL = { npm ci $(NPM_QUIET) && cp package-lock.json node_modules/.installed; }
ROOT_FLAG = $(if $(filter 0,$(shell id -u)),--allow-root)
BROWSER_FLAG = $(if $(filter no 0 false,$(BROWSER)),--no-browser)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help lab install install-dev test test-fast test-slow test-lowest test-notebooks \
	test-long-notebooks test-marked-slow test-js fuzz \
	lint lint-style lint-format lint-types lint-layers format table2 bench wheel audit pins clean distclean

help: ## Say what there is
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Settings: PYTHON=$(PYTHON) VENV=$(VENV) PORT=$(PORT) BROWSER=$(BROWSER) PYTEST_ARGS=$(PYTEST_ARGS)"

# --- using it --------------------------------------------------------------------------------------

lab: $(READY) ## Open JupyterLab on the first notebook (BROWSER=no PORT=8899 for a bare server)
	$(BIN)/jupyter lab $(START) --port $(PORT) $(BROWSER_FLAG) $(ROOT_FLAG)

install: $(READY) ## Make .venv with the pinned packages

install-dev: $(READY_DEV) ## The same, with the tools for developing

# --- checking it -----------------------------------------------------------------------------------

test: checks test-fast ## Everything but the slow tests: lint, types, layers, first notebooks, pytest

checks: lint test-js test-notebooks ## The same without pytest (-j2 runs them side by side)

test-fast: $(READY_DEV) ## The fast tests alone (PYTEST_ARGS="-k masks" narrows them; WORKERS=0: one process)
	@$(TIMED) $(TESTS) -m "not slow" --durations=10 $(PYTEST_ARGS)

fuzz: $(READY_DEV) ## Fuzz pictures, traces and arguments for an hour, each round with another seed (MINUTES=5)
	@$(TIMED) end=$$(($$(date +%s) + 60 * $(MINUTES))); seed=$${FUZZ_SEED:-$$(date +%s)}; \
	while [ $$(date +%s) -lt $$end ]; do \
		echo "== FUZZ_SEED=$$seed"; \
		FUZZ=$${FUZZ:-4} FUZZ_SEED=$$seed $(TESTS) -k fuzz -q -rP $(PYTEST_ARGS) || exit 1; \
		seed=$$((seed + 1)); \
	done

test-slow: test-long-notebooks test-marked-slow ## The slow tests alone: long notebooks, an installed wheel, real browsers

test-marked-slow: $(READY_DEV)
	@$(TIMED) $(TESTS) -m slow --durations=10 $(PYTEST_ARGS)

test-lowest: $(READY_LOWEST) ## What depends on diffusers and ipywidgets, under the oldest we support
	@$(TIMED) $(subst $(BIN)/,$(LOWEST)/bin/,$(TESTS)) -m "(diffusers or colab) and not slow" \
		-W default $(PYTEST_ARGS)

test-notebooks: $(READY_DEV) ## Run the first three notebooks from top to bottom
	@$(TIMED) $(NOTEBOOKS) $(sort $(wildcard notebooks/0[0-2]_*.ipynb))

test-long-notebooks: $(READY_DEV) ## Run the others, which take minutes each
	@$(TIMED) $(NOTEBOOKS) \
		$(filter-out $(wildcard notebooks/0[0-2]_*.ipynb),$(sort $(wildcard notebooks/*.ipynb)))

test-js: ## Check the widgets' JavaScript (skipped where there is no npm)
	@$(TIMED) if [ ! -f widgets/js/package.json ]; then \
		echo "test-js: widgets/js/package.json is not there, nothing to check"; \
	elif ! command -v npm >/dev/null; then \
		echo "test-js: npm is not installed, JavaScript is not checked (using the widgets needs no Node)"; \
	else \
		cd widgets/js && { cmp -s package-lock.json node_modules/.installed || $(NPM_INSTALL); } \
		&& npm run --if-present check && npm test --if-present; \
	fi

lint: lint-style lint-format lint-types lint-layers ## Style, types and layers: ruff, mypy, import-linter

lint-style: $(READY_DEV)
	@$(TIMED) $(BIN)/ruff check

lint-format: $(READY_DEV)
	@$(TIMED) $(BIN)/ruff format --check

lint-types: $(READY_DEV)
	@$(TIMED) $(BIN)/mypy

lint-layers: $(READY_DEV)
	@$(TIMED) $(BIN)/lint-imports

format: $(READY_DEV) ## Let ruff put things right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

table2: $(READY_DEV) ## Table 2 on the miniature: 40 triplets, four methods, in runs/table2 (TRIPLETS=200)
	@$(TIMED) $(OFFLINE) $(BIN)/hdpainter-nb evaluate runs/table2 --triplets mini --n $(TRIPLETS) \
		--system base=mini:base --system rasg=mini:rasg --system painta=mini:painta \
		--system both=mini:both --set steps=10 \
	&& $(OFFLINE) $(BIN)/hdpainter-nb score runs/table2 \
	&& $(OFFLINE) $(BIN)/hdpainter-nb report runs/table2 --csv runs/table2/rows.csv

bench: $(READY_DEV) ## Measure: every benchmarks/bench_*.py in turn
	@set -e; for file in $(sort $(wildcard benchmarks/bench_*.py)); do \
		echo "== $$file"; $(OFFLINE) $(BIN)/python $$file; done

wheel: $(READY_DEV) ## Build dist/hdpainter_nb-*.whl and the source archive
	$(BIN)/python -m build --no-isolation

# --- what it is made of ----------------------------------------------------------------------------

audit: $(READY_DEV) ## Ask the registries whether a package in use is known to be harmful
	@[ -x $(AUDIT)/bin/pip-audit ] || { $(BIN)/python -m venv $(AUDIT) \
		&& $(AUDIT)/bin/python $(PIP) pip-audit; }
	@$(AUDIT)/bin/python .ci/audit.py $(VENV) widgets/js

pins: $(READY_DEV) ## Write the lower parts of constraints-dev.txt and -lowest.txt anew
	@for set in dev lowest; do \
		rm -rf $(PINS) && $(BIN)/python -m venv $(PINS) \
		&& $(PINS)/bin/python .ci/share_torch.py $(VENV) \
		&& $(BIN)/python .ci/pin.py head constraints-$$set.txt > .pins.txt \
		&& if [ $$set = dev ]; then what="-e .[dev]"; else what="-e . $(LOWEST_TOOLS)"; fi \
		&& $(PINS)/bin/python $(PIP) -c .pins.txt $$what \
		&& $(PINS)/bin/python .ci/pin.py rest constraints-$$set.txt || exit 1; done
	@rm -rf $(PINS) .pins.txt
	@if command -v npm >/dev/null; then cd widgets/js && npm update --package-lock-only $(NPM_QUIET); fi

# --- tidying ---------------------------------------------------------------------------------------

clean: ## Remove what was built and cached (keeps .venv)
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -type d -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -not -path './.venv*' -type d -prune -exec rm -rf {} +

distclean: clean ## The same, and the environments too
	rm -rf $(VENV) $(LOWEST) $(PINS) $(AUDIT) widgets/js/node_modules

# --- environments ----------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "hdpainter-nb needs Python 3.11 or newer; $(PYTHON) is not."; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments yet. On Debian and Ubuntu:"; \
		echo "    sudo apt-get install python3-venv"; \
		echo "then run make again."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the pinned packages into $(VENV); the first time takes a few minutes."
	$(BIN)/python $(PIP) -c constraints.txt -e .
	@touch $@

# Holds all of $(READY), and is made in one go.
$(READY_DEV): pyproject.toml constraints.txt constraints-dev.txt | $(BIN)/python
	@echo "Installing the pinned packages and tools into $(VENV); the first time takes a few minutes."
	$(PINNED) $(BIN)/python $(PIP) -e ".[dev]"
	@touch $(READY) $@

$(READY_LOWEST): constraints-lowest.txt pyproject.toml .ci/share_torch.py $(READY_DEV)
	rm -rf $(LOWEST)
	$(BIN)/python -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/share_torch.py $(VENV)
	$(PINNED_LOWEST) $(LOWEST)/bin/python $(PIP) -e . $(LOWEST_TOOLS)
	@touch $@

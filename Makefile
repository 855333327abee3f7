# `make help` lists the targets. Each one sets up what it needs in a virtual environment, once.

PYTHON ?= python3
VENV ?= .venv
# More arguments for pytest (make test) or for the comparison (make demo).
ARGS ?=
# The torch of test-oldest and test-newest, where it is to be neither the lowest nor the newest.
TORCH ?=
# Two processes; each works with one thread (see tests/conftest.py). WORKERS=0 runs all in one.
WORKERS ?= 2

# Flower wants older packages than the rest: it has an environment of its own.
FLOWER ?= .venv-flower

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DECLARED := pyproject.toml constraints.txt

# Pytest rewrites every assert of the tests, which takes seconds; what is compiled is kept for the next process.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test docs site-test test-flower newest-flower test-oldest test-newest test-tools wheel coverage lint format bench clean distclean

help:
	@echo "make demo       compare with PCA, TruncatedSVD, random projection and PLS; results go to out/"
	@echo "make test       run the tests            (make test ARGS='-k losses', ARGS='-m slow', WORKERS=0)"
	@echo "make test-flower    run the tests over real processes of Flower, in $(FLOWER), a few minutes"
	@echo "make newest-flower  run them with the newest Flower there is, in a folder that is removed again"
	@echo "make test-oldest    run the tests with the lowest versions that pyproject.toml allows  (TORCH=torch==2.13.0: with that)"
	@echo "make test-newest    run them with the newest there are; both keep what was tried in docs/data/versions.csv"
	@echo "make test-tools try clients with mapie, crepes, shap, optuna, chemotools, skops and nirs4all, which it installs"
	@echo "make docs       build the site: docs/_build/html/index.html (make site-test: build it, then look at it)"
	@echo "make wheel      build the wheel, with the native engine compiled, and the source archive in dist/"
	@echo "make lint       check style and types    (make format: apply the style)"
	@echo "make coverage   run the tests and report which lines they miss"
	@echo "make bench      say how to run the benchmarks"
	@echo "make clean      remove caches and build products"
	@echo "make distclean  remove $(VENV), $(FLOWER) and out/ too"
	@echo
	@echo "Python: $(PYTHON), 3.11 or newer; another one with: make PYTHON=python3.12 test"

demo: $(VENV)/.demo
	$(BIN)/skfdrmfl compare $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-flower: $(FLOWER)/.test
	$(FLOWER)/bin/python -m pytest tests/flower -m flower $(ARGS)

# For a nightly run: it says whether the range of versions in pyproject.toml may grow.
newest-flower:
	rm -rf $(FLOWER)-newest
	$(PYTHON) -m venv $(FLOWER)-newest
	$(FLOWER)-newest/bin/python -m pip --quiet install --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(FLOWER)-newest/bin/python -m pip --quiet install --upgrade flwr cryptography pytest hypothesis pandas --editable .
	$(FLOWER)-newest/bin/python -m pip list | grep -i '^flwr '
	$(FLOWER)-newest/bin/python -m pytest tests/flower -m flower $(ARGS)
	rm -rf $(FLOWER)-newest

# By hand or nightly. TORCH names another torch than the lowest or the newest: an index without CPU builds sends gigabytes.
test-oldest: ENVIRONMENT := oldest
# An old package may call what another, newer one deprecates: no fault of this one.
test-oldest: QUIET := -W ignore::DeprecationWarning
test-oldest:
	rm -rf $(VENV)-oldest
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python tools/versions.py --lowest | grep -v $(if $(TORCH),'^torch==','^$$') > $(VENV)-oldest/lowest.txt
	$(VENV)-oldest/bin/python -m pip --quiet install --requirement $(VENV)-oldest/lowest.txt $(TORCH) setuptools
	$(VENV)-oldest/bin/python -m pip --quiet install --constraint $(VENV)-oldest/lowest.txt --no-build-isolation --editable ".[test]"
	$(try_versions)

test-newest: ENVIRONMENT := newest
test-newest:
	rm -rf $(VENV)-newest
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip --quiet install --upgrade $(or $(TORCH),torch) setuptools
	$(VENV)-newest/bin/python -m pip --quiet install --no-build-isolation --editable ".[test]"
	$(try_versions)

# The record says what passed: `make test-oldest ARGS='tests/views'` is a part.
define try_versions
	$(VENV)-$(ENVIRONMENT)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(QUIET) $(ARGS)
	$(VENV)-$(ENVIRONMENT)/bin/python tools/versions.py --record $(ENVIRONMENT) --ran "$(or $(strip $(ARGS)),all that runs by default)"
	$(VENV)-$(ENVIRONMENT)/bin/python tools/versions.py --write
	rm -rf $(VENV)-$(ENVIRONMENT)
endef

test-tools: $(VENV)/.tools
	$(BIN)/python -m pytest -m tools $(ARGS)

docs: $(VENV)/.docs
	rm -rf docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs -d docs/_build/doctrees . docs/_build/html
	@echo "The site is in docs/_build/html/index.html"

site-test: docs $(VENV)/.test $(VENV)/.site
	$(BIN)/python -m pytest tests/house/test_site.py -m site $(ARGS)

# For Linux of about this machine's age and newer; docs/maintainers.md says how for older ones and for ARM.
wheel: $(VENV)/.wheel
	rm -rf dist build
	$(BIN)/python -m pip --quiet wheel --no-deps --no-build-isolation --wheel-dir dist/plain .
	PATH="$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist dist/plain/*.whl
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	rm -rf dist/plain
	@ls dist

coverage: $(VENV)/.test
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage report

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test
	@echo "A benchmark is a script; run one with: $(BIN)/python benchmarks/NAME.py"
	@ls benchmarks/*.py 2>/dev/null || echo "There are none yet."

clean:
	rm -rf build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf docs/_build docs/api docs/gallery
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find skfdrmfl tests benchmarks studies tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest $(FLOWER) $(FLOWER)-newest out

# Set-up. Each stamp file in $(VENV) is touched when its step has succeeded, and its step is repeated
# when the declared dependencies change.

# A PYTHON given on the command line that is not the one $(VENV) was made with remakes it.
WHICH := import sys; print(sys.version)
ifeq ($(origin PYTHON),command line)
ifneq ($(wildcard $(VENV)/.python),)
$(shell test "$$($(PYTHON) -c '$(WHICH)' 2>&1)" = "$$(cat $(VENV)/.python)" || rm -f $(VENV)/.python)
endif
endif

fail = { echo >&2; echo "make: $(1)" >&2; exit 1; }

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || \
	  $(call fail,$(PYTHON) is not there. Name a Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  $(call fail,skfdrmfl needs Python 3.11 or newer$(,) but $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 ...)
	@echo "==> Making the virtual environment $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || \
	  $(call fail,$(PYTHON) could not make a virtual environment; on Debian and Ubuntu install its python3-venv package.)
	@$(PYTHON) -c '$(WHICH)' > $@

$(VENV)/.torch: $(VENV)/.python constraints.txt
	@echo "==> Installing PyTorch (by far the largest download: a few minutes)"
	@$(PIP) install --constraint constraints.txt "$$(grep '^torch==' constraints.txt)" || \
	  $(call fail,pip could not install PyTorch; its message is above.)
	@touch $@

# Building uses the pinned setuptools of $(VENV), not one that pip would fetch for the occasion.
$(VENV)/.build: $(VENV)/.torch $(DECLARED)
	@$(PIP) install --constraint constraints.txt setuptools || \
	  $(call fail,pip could not install setuptools; its message is above.)
	@touch $@

define install
	@echo "==> Installing skfdrmfl[$(1)], editable, and what it needs"
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable ".[$(1)]" || \
	  $(call fail,pip could not install skfdrmfl[$(1)]; its message is above.)
	@touch $@
endef

$(VENV)/.demo: $(VENV)/.build
	$(call install,plot$(,)progress$(,)table)

$(VENV)/.test: $(VENV)/.build
	$(call install,test)

$(VENV)/.tools: $(VENV)/.build
	$(call install,tools)
$(VENV)/.docs: $(VENV)/.build
	$(call install,docs)

$(VENV)/.site: $(VENV)/.build
	$(call install,site)

$(VENV)/.wheel: $(VENV)/.build
	$(call install,wheel)

# All that `.ci/run` wants of it: native.c is compiled once, not four times.
$(VENV)/.ci: $(VENV)/.build
	$(call install,docs$(,)lint$(,)site$(,)test)
	@touch $(addprefix $(VENV)/.,docs lint site test)

$(VENV)/.lint: $(VENV)/.build
	$(call install,lint)

$(FLOWER)/.torch: constraints-flower.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || $(call fail,$(PYTHON) is not there. Name a Python 3.11 or newer: make PYTHON=...)
	@echo "==> Making the virtual environment $(FLOWER), with PyTorch and Flower (a few minutes)"
	@$(PYTHON) -m venv --clear $(FLOWER)
	@$(FLOWER)/bin/python -m pip --disable-pip-version-check --quiet install --constraint $< \
	  "$$(grep '^torch==' $<)" setuptools || $(call fail,pip could not install PyTorch; its message is above.)
	@touch $@

$(FLOWER)/.test: $(FLOWER)/.torch
	@$(FLOWER)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints-flower.txt \
	  --no-build-isolation --editable ".[flower]" cryptography hypothesis pandas pytest || \
	  $(call fail,pip could not install skfdrmfl[flower]; its message is above.)
	@touch $@

, := ,

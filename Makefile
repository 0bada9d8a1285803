# make demo   one real run: a language model learns to translate from 18 token embeddings
# make check  the fast loop: lint, types and the tests that train nothing
# make test   lint, types and all tests
# make test-fairseq2   the same for fairseq2 as the trainer, in .venv-fairseq2 (8 GB)
# make test-serving    tickets in vLLM and llama.cpp, in .venv-vllm (4 GB) and .venv-llamacpp
# make docs   the site, from docs/ and the docstrings: open site/index.html
# make dist   wheel and sdist in dist/, checked, installed and tried in a fresh environment
# Each makes its virtual environment first; PYTHON=python3.12 chooses another Python.

PYTHON ?= python3
VENV ?= .venv
VENV_FAIRSEQ2 ?= .venv-fairseq2
VENV_VLLM ?= .venv-vllm
VENV_LLAMACPP ?= .venv-llamacpp
BIN = $(VENV)/bin

.PHONY: demo check test test-fairseq2 test-serving docs dist install-demo install-test install-docs clean help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo:
	@echo "== Gemma 3 270M learns to translate English to Romanian with 18 rows of its vocabulary:"
	@echo "   it is installed and converted (once), translates as it is, is tuned, translates again."
	@echo "   How long that takes here is measured in the first steps (5 to 15 minutes on 2 cores)."
	@echo "   Ctrl-C stops it; make demo goes on where it stopped."
	@$(MAKE) --no-print-directory install-demo
	@echo "== mt-train recipe=ks_lottery lang=en-ro resume=true"
	@$(BIN)/mt-train recipe=ks_lottery lang=en-ro resume=true

check: install-test
	@scripts/check $(BIN)

test: install-test
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "== types"
	$(BIN)/mypy
	@echo "== tests (by two workers)"
	@scripts/test $(BIN)/pytest

test-fairseq2:
	@scripts/test_fairseq2 "$(PYTHON)" "$(VENV_FAIRSEQ2)" $(TESTS)

test-serving: install-test
	@scripts/test_serving llamacpp "$(BIN)/python" "$(VENV_LLAMACPP)"
	@scripts/test_serving vllm "$(PYTHON)" "$(VENV_VLLM)"

docs: install-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "== the site is in site/: open site/index.html"

dist:
	@scripts/dist "$(PYTHON)"

install-demo:
	@scripts/install "$(PYTHON)" "$(VENV)" demo

install-test:
	@scripts/install "$(PYTHON)" "$(VENV)" demo,test

install-docs:
	@scripts/install "$(PYTHON)" "$(VENV)" docs

clean:
	rm -rf $(VENV) $(VENV_FAIRSEQ2) $(VENV_VLLM) $(VENV_LLAMACPP) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site

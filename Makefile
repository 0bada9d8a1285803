# make demo   one real run: a language model learns to translate from 18 token embeddings
# make test   lint, types and the tests
# Both make the virtual environment .venv first; PYTHON=python3.12 chooses another Python.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test install-demo install-test clean help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo: install-demo
	@echo "== mt-train recipe=ks_lottery lang=en-ro (5 to 15 minutes on 2 cores)"
	$(BIN)/mt-train recipe=ks_lottery lang=en-ro

test: install-test
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "== types"
	$(BIN)/mypy
	@echo "== tests (tests/e2e runs a real model: some minutes)"
	$(BIN)/pytest

install-demo:
	@scripts/install "$(PYTHON)" "$(VENV)" demo

install-test:
	@scripts/install "$(PYTHON)" "$(VENV)" demo,test

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

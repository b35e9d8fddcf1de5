# Plimsoll. `make` alone explains itself; CI runs the same targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8080

.DEFAULT_GOAL := help
.PHONY: help up test quick check format bench clean

help: ## Show this text
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.local ## Serve the demo fleet on this machine (PORT=8080)
	@$(BIN)/plimsoll up --port $(PORT)

test: $(VENV)/.test ## Run every test, the slow ones included
	$(BIN)/pytest

quick: $(VENV)/.test ## Run the tests that take seconds
	$(BIN)/pytest -m "not slow"

check: $(VENV)/.test ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test ## Rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the virtual environment and every cache
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# The stamps hold the date of the last install, so a changed pyproject.toml installs again.
$(VENV)/.local: pyproject.toml | $(BIN)/python
	@echo "Installing Plimsoll and the embedded engine into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[local]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing Plimsoll and its test tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[local,s3,plan]' --group test --group check
	@touch $@

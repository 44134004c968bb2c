# The commands of Winnow. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK = true
export DVC_NO_ANALYTICS = 1
export DVC_SITE_CACHE_DIR = $(CURDIR)/.dvc/tmp/site
export MLFLOW_DISABLE_TELEMETRY = true
# One name in MLflow for all stages that one `make repro` runs. The tracking database may be anywhere: MLFLOW_TRACKING_URI.
repro: export WINNOW_EXECUTION ?= $(shell date +%Y%m%d-%H%M%S)

.PHONY: help setup repro demo test test-fast lint ui clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 11

setup: $(READY) ## make .venv with everything in requirements.lock

$(READY): requirements.lock requirements-oracles.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here; install it (apt-get install python3.11 python3.11-venv) or set PYTHON="; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "python venv failed; on Debian or Ubuntu: apt-get install python3.11-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --compile-bytecode -r requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --compile-bytecode --no-deps -r requirements-oracles.lock -e .
	@touch $(READY)

repro: $(READY) ## run every stage that is not up to date, then show the comparison
	@$(BIN)/dvc repro
	@$(BIN)/winnow publish || true
	@$(BIN)/winnow show

demo: $(READY) ## the same stages at scale=debug, four arms, in demo/: about three minutes, and nothing of yours is touched
	@rm -rf demo && mkdir demo
	@git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t demo
	@printf '[core]\n    no_scm = true\n' > demo/.dvc/config.local
	@rm -f demo/dvc.lock; test ! -d .winnow/downloads || { mkdir -p demo/.winnow && cp -r .winnow/downloads demo/.winnow/; }
	@cd demo && python -m winnow.cli.main compose experiment=demo scale=debug $(SET) && dvc repro && python -m winnow.cli.main show

test: $(READY) ## all tests
	@$(BIN)/python -m pytest -q $(ARGS)

test-fast: $(READY) ## the quick tests, without servers and whole pipelines: under two minutes
	@$(BIN)/python -m pytest -q -m "not slow" $(ARGS)

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

ui: $(READY) ## Prefect with a worker for the nightly run, and MLflow, on this machine; prints the link to the arms
	@$(BIN)/python -m flows.ui

clean: ## remove what the pipeline made (not .venv, not DVC's cache)
	rm -rf data results demo .winnow dvc_plots .pytest_cache .mypy_cache .ruff_cache .hypothesis

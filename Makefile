# `make test` sets everything up and checks everything; `make demo` plays the leaderboard.
# Needs python3 (3.11 or later) and make, nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Seconds of each soak test.
SECONDS ?= 60
# What `make pytest` runs, for example `make pytest ARGS="tests/house -k embedded"`.
ARGS   ?=

# An advertisement that would be the loudest part of the output.
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint types layers docs bench bench-contention bench-engine bench-settings bench-peers bench-record bench-record-peers bench-page soak sync format pytest clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

demo: $(VENV)/.demo ## Play the leaderboard on an embedded server, or on RAPYER_URL
	@$(BIN)/python examples/game_leaderboard.py

test: lint types layers ## Every check; pytest's summary is the last line
	@$(BIN)/python -m pytest

lint: $(VENV)/.dev ## Style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy --strict and pyright
	@$(BIN)/mypy rapyer_core codecs/rapyer_codecs tests $(wildcard examples bench)
	@$(BIN)/pyright

layers: $(VENV)/.dev ## The direction of imports
	@$(BIN)/lint-imports

docs: $(VENV)/.dev ## The documentation, strictly, into site/
	@$(BIN)/mkdocs build --strict

bench: $(VENV)/.dev ## Ratios against hand-written redis-py; ARGS="--rows increment" for some rows
	@$(BIN)/python -m bench.run $(ARGS)

bench-contention: $(VENV)/.dev ## Many tasks and processes on one object
	@$(BIN)/python -m bench.contention $(ARGS)

bench-engine: $(VENV)/.dev ## Flatten and load one object, without a server
	@$(BIN)/python -m bench.engine $(ARGS)

bench-settings: $(VENV)/.dev ## Whether the hand-written side has the best settings of redis-py
	@$(BIN)/python -m bench.settings $(ARGS)

bench-peers: .venv-peers/.ready ## Other mappers beside ours, in an environment of their own
	@PYTHONPATH=.:codecs .venv-peers/bin/python -W ignore -m bench.peers.run $(ARGS)

bench-record: $(VENV)/.dev .venv-peers/.ready ## All of these, into bench/results/ and then into docs/performance.md; on a quiet machine
	@$(BIN)/python -m bench.run --json bench/results/redis-py.json $(ARGS)
	@$(BIN)/python -m bench.engine --json bench/results/engine.json
	@$(BIN)/python -m bench.contention --json bench/results/contention.json
	@$(MAKE) --no-print-directory bench-record-peers ARGS=

bench-record-peers: $(VENV)/.dev .venv-peers/.ready ## Other mappers alone, into bench/results/ and docs/performance.md; on a quiet machine
	@PYTHONPATH=.:codecs .venv-peers/bin/python -W ignore -m bench.peers.run --json bench/results/peers.json $(ARGS)
	@$(MAKE) --no-print-directory bench-page

bench-page: $(VENV)/.dev ## docs/performance.md and its chart, out of bench/results/
	@$(BIN)/python -m bench.page

soak: $(VENV)/.dev ## The tests of tests/soak, SECONDS each
	@RAPYER_SOAK_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/soak --timeout=0 $(ARGS)

sync: $(VENV)/.dev ## Make the blocking modules again out of the asyncio ones
	@$(BIN)/python tools/make_sync.py

format: $(VENV)/.dev ## Write the files as `make lint` wants them
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

pytest: $(VENV)/.dev ## pytest alone, with ARGS
	@$(BIN)/python -m pytest $(ARGS)

clean: ## Remove everything that can be made again
	rm -rf $(VENV) .venv-peers build site dist *.egg-info codecs/*.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp for each set of packages, so that nothing is installed again until the metadata changes.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

.venv-peers/.ready: bench/peers/requirements.txt setup.cfg
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install -q -e . -r bench/peers/requirements.txt
	@touch $@

$(VENV)/.demo: setup.cfg pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install -q -e '.[demo]'
	@touch $@

$(VENV)/.dev: setup.cfg pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $(VENV)/.demo $@

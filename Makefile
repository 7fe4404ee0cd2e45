# One command for each thing a developer does. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The interpreter that the virtual environment is made from: Python 3.11 or newer.
PYTHON ?= python3
export PYTHON
# Debian keeps nft, tcpdump and nginx where an ordinary user's PATH does not look.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

PAGE := .venv/bin/python ui/build_page.py

.PHONY: help run test test-vm check check-page bench system-packages venv ui ui-dev docs docs-serve reference clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

run: ## install what is missing, then run every sim in sims/ (ARGS=--verbose adds options)
	@scripts/setup run
	.venv/bin/patchbay run sims/ $(ARGS)

test: ## install what is missing, then the whole test suite (as root: netns twice, as root and as an ordinary user)
	@scripts/setup run test
	@scripts/test

test-vm: ## patchbay-vm with a real machine, and in it the kernel's own link engine (ARGS goes to pytest)
	@scripts/setup run test vm
	.venv/bin/python -m pytest tests/vm $(ARGS)

check: check-page docs ## ruff, strict mypy, the layer test; tsc, biome and vitest for the page; the site of docs/
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -q tests/unit/test_layers.py
	.venv/bin/python -m compileall -q patchbay_runner tests benchmarks book

check-page:
	@scripts/setup
	$(PAGE) run types
	$(PAGE) run lint
	$(PAGE) run test

bench: ## measure; as root also against Mininet (ARGS goes to the benchmarks)
	@scripts/setup run test
	@if [ "$$(id -u)" = 0 ]; then scripts/system-packages bench; fi
	.venv/bin/python -m benchmarks $(ARGS)

system-packages: ## the part that needs root: Debian packages for run, test, test-vm and check
	@scripts/system-packages venv run test vm

venv: ## .venv with the project and the developer tools in it
	@scripts/setup

ui: ## build the page into patchbay_runner/server/static, if its sources have changed
	@scripts/setup
	@$(PAGE)

ui-dev: ## the page with hot reload, in front of a `patchbay serve` (PATCHBAY_SERVER=http://127.0.0.1:7421)
	@scripts/setup
	@$(PAGE) run dev

docs: ## build docs/ into site/; fails on links that lead nowhere
	@scripts/setup
	@.venv/bin/python -m book

reference: ## bring the tables in docs/ up to date that are made of code
	@scripts/setup
	@.venv/bin/python -m book reference

docs-serve: ## the same on http://localhost:8000/, built anew whatever is written
	@scripts/setup
	@.venv/bin/python -m book serve

clean: ## remove what the other targets made, .venv included
	rm -rf .venv .qemu-vm .cache site ui/node_modules patchbay_runner/server/static .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

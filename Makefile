# The menu. `make` alone lists it; everything a developer or the CI runs stands here once.

SHELL := /bin/bash
BIN := .venv/bin
# Two workers: the suites start real servers, and more of them would only wait for each other. Each takes
# whole files as long as there are, so what a file's tests share is made once, then what the other has left.
WORKERS ?= 2
SHARE := -n $(WORKERS) --dist worksteal
PYTEST := $(BIN)/python -m pytest
CODE := ctl tests tools templates

.DEFAULT_GOAL := help
.PHONY: help demo test install install-demo check lint format types layers docs pages unit integration \
	acceptance soak bench requirements changelog clean

help: ## list what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: install-demo ## install what is needed, then show the main job on a real registry
	@$(BIN)/python -m tools.demo

test: install ## install what is needed, then all checks and tests
	@$(MAKE) --no-print-directory lint types layers
	REGCTL_TEST_REQUIRE=1 $(PYTEST) $(SHARE) tests

install: ## what `make test` needs: Debian packages, .venv, a Pulp, registry 3.x where Go is
	@bash tools/packages.sh test
	@bash tools/environment.sh dev
	@bash tools/registry3.sh
	@bash tools/pulp.sh 24

install-demo: ## what `make demo` needs
	@bash tools/packages.sh demo
	@bash tools/environment.sh run

lint: ## ruff: mistakes, style, format
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

format: ## let ruff write the format and what it can mend
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

types: ## mypy, strict
	$(BIN)/mypy

layers: ## import-linter: who may import whom
	$(BIN)/lint-imports

pages: ## write the pages that are lists of what there is
	@$(BIN)/python -m tools.docs_pages

docs: ## links, anchors, pages, tables and examples agree with the code
	$(PYTEST) -q tests/unit/docs

unit: ## the quick ones
	$(PYTEST) -q $(SHARE) tests/unit tests/contracts

integration: ## with real servers
	REGCTL_TEST_REQUIRE=1 $(PYTEST) $(SHARE) tests/integration

acceptance: ## the installed command, from end to end
	REGCTL_TEST_REQUIRE=1 $(PYTEST) $(SHARE) tests/acceptance

soak: install ## full sizes and long loops
	@bash tools/pulp.sh 18 20 27
	REGCTL_TEST_REQUIRE=1 $(PYTEST) -m soak tests

bench: install ## figures side by side, against the registry's own tools
	@$(BIN)/python -m tests.benchmarks

requirements: ## pin anew from pyproject.toml (needs uv)
	@bash tools/requirements.sh

changelog: ## show what the next release's notes will say
	@$(BIN)/towncrier build --draft --version next

clean: ## forget what was installed and cached in this checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

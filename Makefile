# One way to run everything; `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Nothing of ours is written outside the project.
export CLASSIC_CARS_HOME ?= $(CURDIR)/var

.PHONY: help setup demo demo-s3 demo-spark dev dashboard test test-all mutate screenshots lint bench lock docs clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Make the virtual environment with the locked versions
	@# What Python compiles at every start where PYTHONDONTWRITEBYTECODE is set: more than a second.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q classic_cars classic_cars_shop classic_cars_tests benchmarks || true

$(VENV)/.ready: requirements.lock pyproject.toml
	@echo "setting up $(VENV) (a minute or two, once) ..."
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-build-isolation --editable .
	@# Compiled once: without this every start pays for it where PYTHONDONTWRITEBYTECODE is set. Tests of others are not run.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

demo: setup ## Make a shop, read it, check it, show the analysts' answers
	@test -n "$$CLASSIC_CARS_SOURCE_URL" -o -s "$(CLASSIC_CARS_HOME)/shop.sqlite" || $(BIN)/classic-cars shop create
	$(BIN)/classic-cars run
	$(BIN)/classic-cars answers
	@echo
	@echo "Where to look next:"
	@echo "  make dev                               lineage, checks and runs at http://127.0.0.1:3000"
	@echo "  $(BIN)/classic-cars shop advance --days 30  let time pass, then: $(BIN)/classic-cars run"
	@echo "  $(BIN)/classic-cars query 'SELECT * FROM analytics.sales_by_month ORDER BY 1'"
	@echo "  README.md, docs/"

demo-s3: setup ## The same with the tables on a real S3 server, started on this machine for the demo
	$(BIN)/python -m classic_cars_shop.demo_s3

demo-spark: setup ## The same computed by a Spark cluster, started on this machine for the demo (needs Java 17 or 21)
	$(BIN)/python -m classic_cars_shop.demo_spark

dev: setup ## Dagster's web page and daemon at http://127.0.0.1:3000 (PORT=3001: another port)
	@exec $(BIN)/classic-cars dev $(if $(PORT),--port $(PORT))

dashboard: setup ## The answers on a web page at http://127.0.0.1:8501 (PORT=8502: another port)
	@exec $(BIN)/classic-cars dashboard $(if $(PORT),--port $(PORT))

test: setup ## The tests, but for the exhaustive ones (real DuckDB, MariaDB and PostgreSQL; those whose program is missing skip and say so)
	@# What pytest makes of the tests is kept: seven seconds for each worker.
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist worksteal --durations 25

test-all: setup ## The same and the exhaustive ones: more stores and databases, kills and faults
	CLASSIC_CARS_TEST_KILLS=$${CLASSIC_CARS_TEST_KILLS:-12} $(BIN)/python -m pytest -n 4 --dist worksteal --durations 25 -m ""

mutate: setup ## Plant hundreds of bugs one by one; the checks must stop each (minutes; ARGS=--help)
	$(BIN)/python -m classic_cars_tests.mutation $(ARGS)

screenshots: setup ## Take the pictures of the documents again, from a platform that runs (needs Chromium)
	@mkdir -p docs/screenshots
	CI=true CLASSIC_CARS_SCREENSHOTS=$(CURDIR)/docs/screenshots $(BIN)/python -m pytest -q -m "" --basetemp=/tmp/classic-cars \
		classic_cars_tests/end_to_end/test_web_page.py classic_cars_tests/end_to_end/test_dashboard.py

lint: setup ## Ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## Speed and memory beside other ways to do the same work (20 minutes)
	$(BIN)/python -m benchmarks

lock: ## Rebuild requirements.lock from pyproject.toml
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --upgrade setuptools ".[dev]"
	(echo "# Locked versions of everything that runs and tests the platform; made by \`make lock\`."; \
	  build/lock/bin/python -m pip freeze --all | grep -vE '^(pip|classic-cars)(==| @)' | grep -v ' @ ') > requirements.lock
	rm -rf build/lock

docs: setup ## Write the data dictionary and the metric definitions from the contracts
	$(BIN)/classic-cars docs

clean: ## Remove the virtual environment and everything the platform wrote
	rm -rf $(VENV) var

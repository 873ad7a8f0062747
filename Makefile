# Linli 邻里. `make` alone shows what there is.
# Needs Python 3.11 or newer with venv and pip, git and a C compiler. Nothing else has to be installed beforehand.

SHELL := /bin/bash -o pipefail
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
# Nothing is installed but what this release was locked to.
# Files are compiled when they are first used: compiling all of them costs half a minute.
INSTALL := $(PIP) install --no-input --no-compile --progress-bar off --require-hashes
# One line that counts up, in place of pip's hundreds.
COUNT = awk -v all=$$(grep -c '==' $<) -v end="$$(test -t 2 && echo '\r' || echo '\n')" \
	'/^ *(Collecting|Processing) /{n++; if (end=="\r" || n%20==0) printf "  %d of %d packages%s", n, all, end; fflush()} END {printf "\n"}'

.DEFAULT_GOAL := help
.PHONY: help up test check quality bench faults soak lock clean

help: ## Show these lines
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F '\t' '{printf "  make %-8s %s\n", $$1, $$2}'

up: $(VENV)/run.stamp ## Start everything on this machine, until Ctrl-C
	@exec $(VENV)/bin/linli up

# In the order of folders: by number of tests, as xdist would sort, the longest would come last and run alone.
test: $(VENV)/test.stamp ## Run the tests (real Postgres and Valkey, nothing to set up)
	$(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/test.stamp ## Lint, format, types, import order, lock files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy app models migrations tests bench
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m tests.tidy.locks

quality: $(VENV)/test.stamp ## Measure answers, search, emergencies, intents and recommendations; made-up requests to the whole API
	$(VENV)/bin/linli eval qa $(ARGS)
	$(VENV)/bin/linli eval search $(ARGS)
	$(VENV)/bin/linli eval emergencies tests/quality/emergencies_held_out.jsonl
	$(VENV)/bin/linli eval emergencies tests/quality/emergencies_held_out_2.jsonl
	$(VENV)/bin/linli eval emergencies tests/quality/emergencies_held_out_3.jsonl
	$(VENV)/bin/linli eval intents
	$(VENV)/bin/linli eval intents models/training/data/intents_held_out_2.jsonl
	$(VENV)/bin/linli eval recommend --practice --protocol leave-one-out
	LINLI_SCHEMA_EXAMPLES=100 $(VENV)/bin/pytest tests/isolation/test_schema.py

bench: $(VENV)/test.stamp ## Side-by-side benchmarks, each printing ratios
	@missed=; for file in bench/bench_*.py; do name=$$(basename $$file .py); echo "== $$name"; \
	$(VENV)/bin/python -m bench.$$name || missed="$$missed $$name"; done; \
	test -z "$$missed" || { echo "goals missed, or not run to the end:$$missed"; exit 1; }

faults: $(VENV)/test.stamp ## Break every part many times under load (ARGS='"worker killed" --injections 50 --seed 1')
	$(VENV)/bin/python -m tests.faults $(ARGS)
	LINLI_MACHINE_EXAMPLES=20 LINLI_MACHINE_STEPS=30 $(VENV)/bin/pytest tests/faults/test_machine.py

soak: $(VENV)/test.stamp ## Load and faults for an hour (MINUTES=60): memory, files and connections stay flat
	$(VENV)/bin/python -m tests.faults.soak --minutes $(or $(MINUTES),60) $(ARGS)

lock: $(VENV)/test.stamp ## Write the lock files anew, within pyproject.toml's bounds (ARGS=--upgrade for newer ones)
	$(VENV)/bin/python -m tests.tidy.locks write $(ARGS)

clean: ## Remove the environment and caches (never the data in var)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache linli.egg-info

$(VENV)/bin/python:
	@echo "Making $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit("Linli needs Python 3.11 or newer; set PYTHON=…") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)

# The stamps hold the lock's own time: an unchanged lock costs nothing at the next start.
$(VENV)/run.stamp: app/requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing what Linli runs on (once; a minute or two) …"
	@$(INSTALL) -r app/requirements.txt | $(COUNT)
	@$(PIP) install --quiet --no-input --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/test.stamp: tests/requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing what Linli runs on and is tested with (once; a minute or two) …"
	@$(INSTALL) -r tests/requirements.txt | $(COUNT)
	@$(PIP) install --quiet --no-input --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/run.stamp

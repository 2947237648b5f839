# Every target sets up what it needs; `make` alone lists them.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
LAB ?= default
ACCOUNTS ?= vinay
LABS ?= tests/integration tests/security/lab
HOSTS ?= ansible://bots
INVENTORY ?= inventory/lab
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint unit labs test-all lab-up lab-down lab-ssh verify bench bench-pool bench-sdks bench-patch bench-gate bench-logs bench-rollout \
	chaos outages matrix samples report-browser alerts replay runner context awx docs settings requirements clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements-dev.txt
	@command -v python3 >/dev/null || { echo "python3 is missing: apt-get install python3 python3-venv" >&2; exit 1; }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed on the controller" >&2; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

setup: $(VENV)/.installed ## Set the virtual environment up

demo: $(VENV)/.installed ## Show the fault on a replica VM, roll out, show it gone (root; under 10 minutes; DEMO=--keep)
	$(BIN)/python -m tests.lab.demo $(DEMO)

test: lint unit labs ## Lint, unit tests, and the lab tests (root)

test-all: test ## The same, and what takes long: whole rollouts under each confinement and set-up of accounts (root)
	$(BIN)/python -m pytest $(LABS) -q -n 2 --dist loadfile -m slow
	$(BIN)/python -m pytest tests/security/accounts -q
	KILL_STRIDE=1 $(BIN)/python -m pytest tests/unit/rollout/test_killed.py -q -n 2

lint: $(VENV)/.installed ## ruff, mypy, yamllint, ansible-lint (production profile), codespell, shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/codespell
	$(BIN)/shellcheck .ci/run
	$(BIN)/ansible-lint --offline -q

unit: $(VENV)/.installed ## Unit tests alone
	$(BIN)/python -m pytest tests/unit -q -n 2

# Three at a time on two cores: a lab waits for most of its time.
labs: $(VENV)/.installed ## Lab tests alone: rollouts, and what must not be possible across a trust boundary (root; LABS=tests/security/lab)
	$(BIN)/python -m pytest $(LABS) -q -n 3 --dist loadfile -m "not slow"

lab-up: $(VENV)/.installed ## Start the replica VM with six failing bots (root; ACCOUNTS=deploy or root: who connects)
	$(BIN)/python -m tests.lab up --name $(LAB) --accounts $(ACCOUNTS)

lab-down: $(VENV)/.installed ## Take the replica down again
	$(BIN)/python -m tests.lab down --name $(LAB)

lab-ssh: $(VENV)/.installed ## A shell on the replica VM, as the operator
	@$(BIN)/python -m tests.lab ssh --name $(LAB)

verify: $(VENV)/.installed ## Prove a deployed state: make verify INVENTORY=inventory/production (VERIFY='-m limit --junitxml=verify.xml')
	$(BIN)/python -m pytest tests/verify --hosts=$(HOSTS) --ansible-inventory=$(INVENTORY) $(VERIFY)

bench: bench-pool bench-patch bench-gate bench-logs bench-rollout ## All measurements, printed with their conditions (long)

bench-pool: $(VENV)/.installed ## The pool module against the default client and the root-cause report's fix (root)
	$(BIN)/python -m tests.bench.pool

bench-sdks: $(VENV)/.installed ## The pool module with every version of every SDK, and with today's (long)
	$(BIN)/python -m tests.bench.pool.objects
	$(BIN)/python -m tests.bench.pool.matrix
	$(BIN)/python -m tests.bench.pool.matrix --current

bench-patch: $(VENV)/.installed ## The patch engine on thousands of files and generated programs
	$(BIN)/python -m tests.bench.patch

bench-gate: $(VENV)/.installed ## Operating characteristics of the verdict
	$(BIN)/python -m tests.bench.gate

bench-rollout: $(VENV)/.installed ## A rollout and a second run beside the report's manual procedure and pyinfra, and of 24 and 96 bots (root; long; ROLLOUT='--only six')
	$(BIN)/python -m tests.bench.rollout $(ROLLOUT)

bench-logs: $(VENV)/.installed ## Speed of the log reading against grep -c
	$(BIN)/python -m tests.bench.logs

report-browser: $(VENV)/.installed ## The report's page in a headless Chromium (root, to install it)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }
	$(BIN)/python -m pytest tests/report_browser -q

runner: $(VENV)/.installed ## A directory for ansible-runner, without secrets: make runner INVENTORY=inventory/production
	@$(BIN)/python -m plugin_utils.runner --inventory $(INVENTORY)

context: $(VENV)/.installed ## The build context of the execution environment, in context/
	$(BIN)/ansible-builder create -c context

awx: $(VENV)/.installed ## Job templates, surveys and schedules into an AWX: make awx AWX='--url https://… --project-url https://… --check'
	@$(BIN)/python -m plugin_utils.awx $(AWX)

alerts: $(VENV)/.installed ## Alert rules and dashboard against Prometheus's own promtool (root, to install it)
	@command -v promtool >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus; }
	$(BIN)/python -m pytest tests/unit/tell/test_alerts.py -q

replay: $(VENV)/.installed ## Judge the evidence of a report anew: make replay REPORT=reports/<time>/report.json
	@$(BIN)/python -m plugin_utils.gate.replay $(REPORT)

chaos: $(VENV)/.installed ## Every fault at every moment of a rollout, on replicas (root; hours; CHAOS='--jobs 4 --deadline 90')
	$(BIN)/python -m tests.chaos $(CHAOS)

outages: $(VENV)/.installed ## What the VM makes of bad releases, dead bots, other hands, and no Webex (root; 40 minutes; OUTAGES='--acts struck')
	$(BIN)/python -m tests.chaos.outages $(OUTAGES)

matrix: $(VENV)/.installed ## Every supported ansible-core against every supported VM, and docs/matrix.md (root; an hour; MATRIX='--core 2.18')
	$(BIN)/python -m tests.matrix $(MATRIX)

samples: $(VENV)/.installed ## The README's excerpts of a real run, and the report's pictures (root; minutes)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }
	$(BIN)/python -m tests.samples

docs: $(VENV)/.docs ## The pages as a site, in site/, its links checked; needs no network once it is set up
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

$(VENV)/.docs: $(VENV)/.installed requirements-docs.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-docs.txt
	@touch $@

settings: $(VENV)/.installed ## Write the README's tables of settings anew
	$(BIN)/python -m plugin_utils.settings

requirements: ## Pin requirements*.txt, with hashes; UPGRADE=--upgrade moves every pin to its newest version
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	python3 -m venv "$$tmp/v"; "$$tmp/v/bin/pip" install --quiet pip-tools; \
	for f in requirements requirements-dev requirements-docs; do "$$tmp/v/bin/pip-compile" --quiet $(UPGRADE) --generate-hashes --strip-extras \
	  --no-emit-index-url --no-emit-find-links --no-emit-options --no-emit-trusted-host --no-header -o $$f.txt $$f.in; done

clean: lab-down ## Take the lab down, remove the virtual environment and the lab's cached images
	$(BIN)/python -m tests.lab clean
	rm -rf $(VENV) .ansible .pytest_cache .ruff_cache .mypy_cache .hypothesis

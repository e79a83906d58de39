# Everything runs in .venv, made from the lock files (exact versions, hashes checked).
# GNU make 3.81, which macOS ships, is enough.
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Another Python: make tour PYTHON=/path/to/python3.12
PYTHON ?=
# The real servers: make bench STACK=containers
STACK ?= embedded
# A part of the crash matrix: make matrix MATRIX='--sample 200'
MATRIX ?=
# A longer search: make sim SIM='--seconds 3600 --seed 7'
SIM ?=
# Every crash of one scenario: make parity PARITY='--crashes 0 paid'
PARITY ?=
# Is there a Docker engine with the images? make test-all ENGINE=.ci/engine makes both where it may.
ENGINE ?= docker image inspect labkit/kafka:offline >/dev/null 2>&1
# More options of JupyterLab, as in a container: make lab JUPYTER='--ip 0.0.0.0'
JUPYTER ?=
# Newer versions: make lock LOCK_FLAGS=--upgrade
LOCK_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# No configuration, so that the locks do not depend on where the clone lies.
COMPILE := $(BIN)/uv --no-config --quiet pip compile pyproject.toml --group build $(LOCK_FLAGS) \
	--universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

# JupyterLab refuses to run as root, which is who you are in many containers.
ALLOW_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help tour lab test slow test-all matrix sim parity bugs mysql containers test-containers bench check lock clean

# On two cores; a file's tests stay in one process, for they share its lab. Files are begun in the
# order in which they are named: the longest first, so that no core waits for the other at the end.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

help: ## say what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

tour: $(VENV)/.core ## be shown the running shop, in the terminal
	@$(BIN)/labkit tour

lab: $(VENV)/.dev ## open the course in JupyterLab
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab $(ALLOW_ROOT) $(JUPYTER) notebooks/

test: check ## check, then run what finds most mistakes, each notebook among it, in ten minutes
	@$(PYTEST) -m "not slow" tests/notebooks tests/integration tests/unit

slow: $(VENV)/.dev ## run the tests that make test leaves out, and those that need a browser
	@$(PYTEST) -m slow tests/notebooks tests/integration tests/browser

test-all: test slow mysql ## run every test, and a drawn part of the crash matrix, in about an hour
	@$(MAKE) matrix MATRIX="--sample 40"
	@$(MAKE) sim SIM="--seconds 100 --seed 5000000"
	@if $(ENGINE); then $(MAKE) containers; else \
		echo "no Docker engine has the images of compose/offline: THE TESTS ON CONTAINERS ARE LEFT OUT" >&2; fi

matrix: $(VENV)/.core ## crash every service everywhere in every story, in about twenty minutes
	@$(BIN)/labkit matrix $(MATRIX)

sim: $(VENV)/.core ## search for an order of events that breaks the shop, for a minute
	@$(BIN)/labkit sim $(SIM)

parity: $(VENV)/.dev ## compare the twin with real labs, every row, in about fifteen minutes
	@$(BIN)/python -m tests.support.parity $(PARITY)

bugs: $(VENV)/.dev ## put one bug after the other into the shop, and see each found
	@$(BIN)/python -m course.bugs
	@$(BIN)/python -m course.bugs.twin

mysql: $(VENV)/.dev ## run the tests that want a MySQL server on a MariaDB of their own
	@$(PYTEST) tests/mysql

# All of test-containers takes half an hour: of it, the servers themselves, and an order on all
# three of them, behind which one looks.
containers: $(VENV)/.dev ## run the most telling of the tests on containers, in about ten minutes
	@$(PYTEST) tests/containers/test_up.py tests/containers/test_lost_log.py tests/containers/test_partition.py
	@$(BIN)/python -m tests.support.backends $(BIN)/pytest -n 2 --dist load \
		tests/notebooks/test_runs.py -k "alone and (01 or 07)"

# Each notebook alone, and the exercises of the one that needs servers: what else the tests of the
# notebooks do is the same on any stack. Notebook 09 takes the servers away, from all who use them.
test-containers: $(VENV)/.dev ## run the tests on MySQL, Kafka and ZooKeeper in containers
	@compose/offline/build shop  # of the code as it is now
	@$(PYTEST) tests/containers
	@$(BIN)/python -m tests.support.backends $(BIN)/pytest -n 2 --dist load \
		tests/notebooks/test_runs.py::test_a_notebook_alone \
		"tests/notebooks/test_exercises.py::test_checks_tell_right_from_wrong[07_the_real_thing.ipynb]" \
		-k "not 09_outages"
	@$(BIN)/python -m tests.support.backends $(BIN)/pytest tests/notebooks/test_runs.py -k "alone and 09_outages"
	@$(BIN)/python -m tests.support.backends $(PYTEST) \
		-m "not embedded" tests/integration/test_pay_chaos.py tests/integration/test_refunds.py \
		tests/integration/test_paying.py tests/integration/test_instances.py \
		tests/integration/test_placing.py tests/integration/test_races.py

bench: $(VENV)/.core ## measure orders a second and more, in about eight minutes
	@$(BIN)/labkit bench --stack $(STACK)

check: $(VENV)/.dev ## lint, formatting, types and the walls between packages
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

lock: $(VENV)/.dev ## make the lock files anew from pyproject.toml
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) --extra lab --extra dev --constraints requirements.lock \
		--output-file requirements-dev.lock

clean: ## stop the lab here and remove all that was made
	@for home in .lab notebooks/.lab notebooks/.labs/*; do \
		if [ -d $$home ] && [ -x $(BIN)/labkit ]; then $(BIN)/labkit down --home $$home || true; fi; \
	done
	@rm -rf $(VENV) .lab notebooks/.lab notebooks/.labs dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# $(call install,LOCK FILE,HOW LONG)
define install
	@echo "installing the packages of $(1), $(2) the first time"
	@$(PIP) install --no-compile --require-hashes -r $(1) \
		&& $(PIP) install --no-deps --no-build-isolation --editable . \
		|| { echo "the install failed, see above: is the network there? If it is: make clean, and again" >&2; exit 1; }
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # all cores, where pip takes one
endef

$(VENV)/.core: $(VENV)/.made requirements.lock pyproject.toml
	$(call install,requirements.lock,about a minute)
	@touch $@

# This lock holds all of the other one, in the same versions.
$(VENV)/.dev: $(VENV)/.made requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock,about two minutes)
	@touch $(VENV)/.core $@

# The first Python that will do; where none does, one line says what is missing.
$(VENV)/.made:
	@problem="labkit needs Python 3.11 or newer: install one (Debian: apt install python3; macOS: brew install python), or name yours: make PYTHON=/path/to/python3"; \
	found=; \
	for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		if $$python -c 'import ensurepip, venv' 2>/dev/null; then found=$$python; break; fi; \
		problem="$$python cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)"; \
	done; \
	if [ -z "$$found" ]; then echo "$$problem" >&2; exit 1; fi; \
	echo "making $(VENV) with $$($$found --version)"; \
	$$found -m venv --clear --prompt labkit $(VENV) || { rm -rf $(VENV); echo "making $(VENV) failed, see above" >&2; exit 1; }
	@touch $@

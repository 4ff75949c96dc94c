# The verbs of the project, the same on a laptop and in CI. `make help` lists them.
#
# Needed: Python 3.11 or later with its venv module. Everything else is pinned, with hashes, in requirements/, and goes
# into .venv. Stamps of their own, so that running needs nothing that only developing or a broker needs.

PYTHON ?= $(shell for python in python3.11 python3; do $$python -c '' 2>/dev/null && echo $$python && break; done)
IN := .venv/bin
INSTALL := $(IN)/python -m pip install -qq --disable-pip-version-check
RUN := .venv/run.stamp
BROKER_LIBRARIES := .venv/brokers.stamp
CLUSTER_LIBRARIES := .venv/cluster.stamp
PDF_LIBRARIES := .venv/pdf.stamp
DEV := .venv/dev.stamp
DOCS := .venv/docs.stamp
ARGS ?=
# Whether `make install` installs the client libraries of brokers too: NATS, Redis, MQTT, AMQP, Kafka.
BROKERS ?=
# Whether `make install` installs what several machines need too: the clients of PostgreSQL and NATS.
CLUSTER ?=
# Whether `make install` installs what PDF files of reports need too.
PDF ?=
# Whether the branch coverage is measured, which takes half as long again.
COVERAGE ?=

# Hundreds of processes that tests start would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install run test test-all test-install test-pbx mutate check fix bench lock man docs screenshots dist deb release clean .venv

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(RUN) $(if $(BROKERS),$(BROKER_LIBRARIES)) $(if $(CLUSTER),$(CLUSTER_LIBRARIES)) $(if $(PDF),$(PDF_LIBRARIES)) ## make .venv with what running needs, for a server; BROKERS=1: also clients of brokers; CLUSTER=1: also what several machines need; PDF=1: also what PDF files of reports need

run: $(RUN) ## start Onhook with a simulated PBX that posts real webhooks
	$(IN)/onhook serve --demo $(ARGS)

test: $(DEV) ## the tests, without the slow ones; ARGS="-k queue" picks some; COVERAGE=1 as in CI
ifeq ($(strip $(ARGS)),)
	$(IN)/python -m pytest -n 3 --dist worksteal -m "not slow and not pbx and not install" $(if $(COVERAGE),--cov --cov-report=)
	$(if $(COVERAGE),$(IN)/python -m tools.coverage_gates)
else
	$(IN)/python -m pytest -n 2 -m "not slow and not pbx and not install" $(ARGS)
endif

test-all: $(DEV) ## all tests, with kill -9, full disk, long runs; ARGS="--part sync", ROUNDS=100, SEEDS=200, DURATION=3600, STEP=1
	$(IN)/python -m tools.all_tests $(ARGS)

test-install: $(DEV) ## install, upgrade and remove Onhook in a Debian system in a folder; takes root and debootstrap (Debian)
	$(IN)/python -m pytest -m install tests/install $(ARGS)

test-pbx: $(DEV) ## tests against a real Asterisk with real telephones; takes root, debootstrap and sipp (Debian)
	$(IN)/python -m pytest -m pbx tests/pbx/asterisk $(ARGS)

mutate: $(DEV) ## mutation tests of the pure rules: an hour or two; the score is printed at the end
	rm -rf mutants
	THOROUGH=1 $(IN)/mutmut run $(ARGS)
	$(IN)/mutmut export-cicd-stats
	$(IN)/python -m tools.mutation_score

check: $(DEV) ## format, lint, types, language and catalogues, changing nothing
	$(IN)/ruff format --check .
	$(IN)/ruff check .
	$(IN)/mypy
	$(IN)/python -m tools.language
	$(IN)/python -m tools.catalogues --check

fix: $(DEV) ## format, repair what ruff can repair, and update the message catalogues
	$(IN)/ruff check --fix-only .
	$(IN)/ruff format .
	$(IN)/python -m tools.catalogues

bench: $(DEV) ## one table of figures, each beside its yardstick
	$(IN)/python -m bench $(ARGS)

lock: $(DEV) ## pin the newest releases, with hashes, in requirements/*.txt
	@for set in run brokers cluster pdf dev docs; do \
	  $(IN)/uv pip compile --no-config --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	    requirements/$$set.in --output-file requirements/$$set.txt || exit 1; \
	done

man: $(DEV) ## make the man page, build/onhook.1
	$(IN)/python -m tools.man_page build/onhook.1

docs: $(DOCS) ## build the documentation site in build/site; strict; ARGS=--external looks up links to other sites too
	$(IN)/python -m tools.documentation $(ARGS)

screenshots: $(DEV) ## make the pictures of the README anew, by a server with two simulated offices; takes Chromium
	$(IN)/python -m tools.screenshots $(ARGS)

dist: $(DEV) ## build wheel, sdist and bill of materials in dist/; the same bytes each time
	$(IN)/python -m tools.distribution $(ARGS)

deb: $(DEV) ## build the Debian package in dist/, for this release of Debian; the same bytes each time
	$(IN)/python -m tools.debian_package $(ARGS)

release: $(DEV) ## make the release VERSION=0.2.0: changelog, commit, tag and files; publishes nothing (RELEASING.md)
	$(IN)/python -m tools.release $(VERSION) $(ARGS)

clean: ## remove .venv, caches and test output; the data directory stays
	rm -rf .venv .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist src/onhook.egg-info mutants test-output
	find src tests -name __pycache__ -prune -exec rm -rf {} +

.venv: $(DEV) ## make .venv with all that running and developing need

$(RUN): requirements/run.txt pyproject.toml
	@test -n "$(PYTHON)" || \
	  { echo "Onhook needs Python 3.11 or later, and there is no python3 in the PATH: install it." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Onhook needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) -V 2>&1): make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Onhook needs Python's venv module, and $(PYTHON) has none: install it (on Debian: apt install python3-venv)." >&2; exit 1; }
	@echo "Installing what requirements/run.txt pins into .venv; the first time takes a minute or two."
	@test -x $(IN)/pip || $(PYTHON) -m venv .venv
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@$(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@

$(BROKER_LIBRARIES): requirements/brokers.txt $(RUN)
	@echo "Installing what requirements/brokers.txt pins into .venv."
	@$(INSTALL) --require-hashes -r requirements/brokers.txt
	@touch $@

$(CLUSTER_LIBRARIES): requirements/cluster.txt $(RUN)
	@echo "Installing what requirements/cluster.txt pins into .venv."
	@$(INSTALL) --require-hashes -r requirements/cluster.txt
	@touch $@

$(PDF_LIBRARIES): requirements/pdf.txt $(RUN)
	@echo "Installing what requirements/pdf.txt pins into .venv."
	@$(INSTALL) --require-hashes -r requirements/pdf.txt
	@touch $@

$(DEV): requirements/dev.txt $(BROKER_LIBRARIES)
	@echo "Installing what requirements/dev.txt pins into .venv."
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

$(DOCS): requirements/docs.txt $(DEV)
	@echo "Installing what requirements/docs.txt pins into .venv."
	@$(INSTALL) --require-hashes -r requirements/docs.txt
	@touch $@

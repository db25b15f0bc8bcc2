# Every target keeps its environment in .venv inside this checkout and can be run at once on a fresh clone.
#
#   make demo                 two nodes, a night of pictures, replication; ONCE=1 ends by itself,
#                             DATA=path takes that folder, DB=sqlite|firebird|postgresql chooses the engine
#   make test                 the whole suite on every engine, in WORKERS=2 processes; PYTEST_ARGS are handed on
#   make hammer               processes at the same objects on every engine, SECONDS=60 on each
#   make lint format bench docs conformance clean

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
DB ?= sqlite
WORKERS ?= 2
SECONDS ?= 60
SOURCES := meteorpi_model meteorpi_db meteorpi_client meteorpi_server tests tools benches wsgi setup.py
DEV_EXTRAS := dev,archive,firebird,postgresql,redis,s3,s3-fast,fastcgi,images,demo,pandas,websocket

.PHONY: help venv demo test hammer lint format bench docs conformance clean

help:
	@sed -n 's/^#  //p' Makefile

$(VENV)/.made: tools/make-venv
	@tools/make-venv
	@touch $@

# One stamp per set of extras: a second run of make finds it newer than the metadata and does nothing.
$(VENV)/.extras-%: $(VENV)/.made setup.py pyproject.toml
	@echo "installing meteorpi[$*] into $(VENV)"
	@$(BIN)/python -m pip install --quiet -e '.[$*]'
	@touch $@

venv: $(VENV)/.extras-$(DEV_EXTRAS)

ifeq ($(DB),sqlite)
demo: $(VENV)/.extras-demo
else
demo: $(VENV)/.extras-demo,$(DB)
	@tools/system-packages $(DB)
endif
	@$(BIN)/meteorpi demo --db '$(DB)' $(if $(ONCE),--once) $(if $(DATA),--data '$(DATA)')

test: venv
	@tools/system-packages firebird postgresql apache lighttpd nginx network systemd prometheus wrk curl zip ceph redis git
	TEST_REQUIRE_ALL=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

hammer: venv
	@tools/system-packages firebird postgresql ceph
	TEST_REQUIRE_ALL=1 $(BIN)/python -m pytest -q --hammer '$(SECONDS)' tests/blocks/test_many_processes.py

lint: venv
	$(BIN)/ruff check $(wildcard $(SOURCES))
	$(BIN)/ruff format --check $(wildcard $(SOURCES))
	$(BIN)/mypy $(wildcard $(SOURCES))

format: venv
	$(BIN)/ruff check --fix $(wildcard $(SOURCES))
	$(BIN)/ruff format $(wildcard $(SOURCES))

bench: venv $(VENV)/.extras-bench
	@tools/system-packages firebird postgresql apache lighttpd nginx wrk
	@for bench in benches/bench_*.py; do $(BIN)/python "$$bench"; done

docs: venv
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

conformance: venv
	$(BIN)/python tools/conformance.py --write docs/conformance/*.md

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

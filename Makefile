# Every target makes .venv from requirements.txt first when it is missing or older. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export OMP_NUM_THREADS ?= 1
.DEFAULT_GOAL := help
.PHONY: help lab test data promtool nbgrader build lint unit notebooks bench experiments requirements clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.11 …")'
	@echo "[1/3] new environment in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "[2/3] installing the tested set (a few minutes the first time)"
	@$(BIN)/python -m pip install --progress-bar on --no-compile -r requirements.txt  # what is used is compiled then
	@echo "[3/3] installing course_lib from this folder"
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)

lab: data  ## set up, check this computer, open the course
	@$(BIN)/course doctor
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) lessons/00_start_here.ipynb  # root only in containers

data: $(READY)  ## fetch and verify MovieLens-100K and its graph
	@$(BIN)/course data

promtool: $(READY)  ## promtool for the tests of the alert rules, unpacked from Debian's package where it is missing
	@$(BIN)/python tests/promtool.py

nbgrader: $(READY)  ## nbgrader beside the course (own environment), for the test that it takes the masters
	@$(BIN)/python tests/nbgrader_environment.py

lint: $(READY)  ## ruff on the library, tests, masters and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: data promtool nbgrader  ## tests of the library and of every promise
	PYTHONPATH=tests/offline $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

notebooks: data  ## nbval on every solved and every unsolved lesson
	COURSE_PROGRESS=off HF_HUB_OFFLINE=1 PYTHONPATH=tests/offline $(BIN)/python -m pytest --nbval --nbval-cell-timeout=300 -n $(JOBS) --dist loadfile solutions lessons

test: lint data promtool nbgrader  ## prove everything: lint, build check, unit tests, every notebook
	$(BIN)/course build --check
	COURSE_PROGRESS=off HF_HUB_OFFLINE=1 PYTHONPATH=tests/offline $(BIN)/python -m pytest --nbval --nbval-cell-timeout=300 -n $(JOBS) --dist loadfile tests solutions lessons

build: data  ## masters (solutions/*.py) into notebooks, what changed only
	$(BIN)/course build --jobs $(JOBS)

bench: data nbgrader  ## models, service, scaling, encoders and grading beside their peers, into tests/bench/*.md (own environment)
	@test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -r tests/bench/requirements.txt
	$(BIN)/python tests/bench/bench.py --peers .venv-bench/bin/python
	$(BIN)/python tests/bench/service.py --peers .venv-bench/bin/python
	$(BIN)/python tests/bench/scaling.py --peers .venv-bench/bin/python
	$(BIN)/python tests/bench/speed.py
	$(BIN)/python tests/bench/grading.py

experiments: data  ## NAME=…: a grid too long for a lesson, resumed, into data/results (no NAME: the list)
	@$(BIN)/course experiments $(or $(NAME),--list)

requirements:  ## make the tested set anew from pyproject.toml (in an environment of its own)
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0
	.venv-lock/bin/python -m pip install --quiet --editable '.[dev]'
	(echo '# The tested set, made by `make requirements`: Python 3.11, every version exact.'; \
	 .venv-lock/bin/python -m pip freeze --exclude-editable | sed -E 's/\+cpu$$//') > requirements.txt
	rm -rf .venv-lock

clean:  ## remove environments, caches and build leftovers (the fetched data stay)
	rm -rf $(VENV) .venv-bench .venv-nbgrader .venv-lock build *.egg-info .pytest_cache .ruff_cache .hypothesis .course
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

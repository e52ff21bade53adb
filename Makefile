# `make demo` and `make test` do all the set-up on a machine with Python, pip, make and git.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export HF_HUB_OFFLINE := 1

.PHONY: help demo test test-fast test-slow check format docs wheel vulnerabilities second-opinions bench chaos clean

help:  ## Show what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.venv/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

# torch first and alone: with it there, no other package pulls in another build.
.venv/core: .venv/pip pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) -e '.[image]'
	@touch $@

# BackPACK, on which curvlinops rests, brings torchvision for its examples; it has no build for every torch and then breaks
# transformers.
.venv/test: .venv/core
	$(PIP) -e '.[image,hf,lightning,curvature,review,ray]' --group test --group check
	$(BIN)/python -m pip uninstall --quiet --yes torchvision
	@touch $@

demo: .venv/core  ## The whole job on scikit-learn's digits: cross-fit, audit, report, verification
	$(BIN)/gradsift demo

test: check test-fast  ## Lint, types and the fast tests (about 15 minutes on 2 cores)

# One thread a process: two test processes share two cores. Each takes half of the files, so that what the tests of a file
# share is made once; who is done first takes tests from the other.
test-fast: export OMP_NUM_THREADS := 1
test-fast: .venv/test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

test-slow: .venv/test  ## The slow tests: memory, real data
	$(BIN)/python -m pytest -m slow

check: .venv/test  ## Lint, format, types, spelling, links of pages, long sentences
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell src docs scripts examples benchmarks README.md CHANGELOG.md CONTRIBUTING.md
	$(BIN)/python scripts/check_links.py
	$(BIN)/python scripts/check_words.py

format: .venv/test  ## Put the code into its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: .venv/test  ## The pages, with reference and notebooks, into docs/_build/html; search works without a network
	$(PIP) --group docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

wheel: .venv/test  ## Build wheel and sdist twice, compare, try the wheel with the newest and the lowest versions, write its SBOM
	$(PIP) --group build
	PYTHON=$(BIN)/python sh scripts/build_twice.sh
	PYTHON=$(PYTHON) sh scripts/try_wheel.sh newest
	PYTHON=$(PYTHON) sh scripts/try_wheel.sh lowest

vulnerabilities: .venv/test  ## Ask the network for known vulnerabilities of what is installed; fails where one is known
	$(PIP) --group audit
	$(BIN)/pip-audit --skip-editable --progress-spinner off

# An environment of their own: opacus and BackPACK need other versions than we do.
.venv-peers/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]' --group test
	@touch $@

second-opinions: .venv-peers/done  ## Compare per-sample gradients with opacus and BackPACK
	.venv-peers/bin/python -m pytest tests/gradients/test_second_opinions.py

bench: .venv/test  ## Time and memory of gradients against plain passes, the one-sample loop and the peers (an hour)
	$(PIP) -e '.[bench]'
	$(BIN)/python benchmarks/speed --prepare
	$(BIN)/python benchmarks/speed

chaos: .venv/test  ## Kill, flip, damage and fill whatever gradsift writes, and give it bad inputs (half an hour on 2 cores)
	$(BIN)/python benchmarks/chaos || true
	$(BIN)/python benchmarks/chaos --write

clean:  ## Remove what was built
	rm -rf .venv .venv-peers .venv-speed-* dist build docs/_build runs

# `make demo` and `make test` set up what they need; nothing is installed outside .venv. The tests run in WORKERS
# processes, the tests of a file in one of them, since they share what they have learned.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= dev
FUZZ_SECONDS ?= 60
WORKERS ?= 2
QUICK := -n $(WORKERS) --dist loadfile -m "not statistics and not crash and not storm and not distributed"

.PHONY: demo test test-latest test-statistics test-crash test-storm test-distributed fuzz lint types bench install clean

demo: install
	$(BIN)/anasyn learn drawn-cats
	$(BIN)/anasyn learn drawn-egrets
	@echo "Look at runs/drawn-cats/report.html and runs/drawn-egrets/report.html;"
	@echo "the figures are in runs/drawn-cats/figures and runs/drawn-egrets/figures."

test: install
	$(BIN)/python -m pytest $(QUICK)

# The same tests with the newest PyTorch instead of the pinned one. On Linux the package index has the CUDA build:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu chooses the smaller one without.
test-latest:
	$(PYTHON) -m venv .venv-latest
	grep -v '^torch==' constraints.txt > .venv-latest/constraints.txt
	.venv-latest/bin/pip install --quiet --disable-pip-version-check --upgrade \
		--constraint .venv-latest/constraints.txt torch --editable '.[$(EXTRAS)]'
	.venv-latest/bin/python -c 'import torch; print("PyTorch", torch.__version__)'
	.venv-latest/bin/python -m pytest $(QUICK)

test-statistics: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m statistics

test-crash: install
	$(BIN)/python -m pytest -m crash

test-storm: install
	$(BIN)/python -m pytest -n $(WORKERS) -m storm -rP

test-distributed: install
	$(BIN)/python -m pytest -m distributed

# What a stranger's bytes can do to the readers; new inputs and crashes go to build/fuzz.
fuzz: install
	-$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/python tests/fuzz/fuzz.py images build/fuzz/images -max_total_time=$(FUZZ_SECONDS)
	$(BIN)/python tests/fuzz/fuzz.py films build/fuzz/films -max_total_time=$(FUZZ_SECONDS)
	$(BIN)/python tests/fuzz/fuzz.py checkpoints build/fuzz/checkpoints -max_total_time=$(FUZZ_SECONDS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

bench: install
	-$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/all.py
	$(BIN)/python benchmarks/recipes.py $(BENCH)
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/guarding.py

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf .venv .venv-latest build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache

# `make demo` and `make test` set up what they need; nothing is installed outside .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-statistics lint types bench install clean

demo: install
	$(BIN)/anasyn learn drawn-cats
	$(BIN)/anasyn learn drawn-egrets
	@echo "Look at runs/drawn-cats/report.html and runs/drawn-egrets/report.html;"
	@echo "the figures are in runs/drawn-cats/figures and runs/drawn-egrets/figures."

test: install
	$(BIN)/python -m pytest -m "not statistics"

test-statistics: install
	$(BIN)/python -m pytest -m statistics

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/recipes.py $(BENCH)
	$(BIN)/python benchmarks/kernels.py

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache

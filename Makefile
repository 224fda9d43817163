# make demo   the whole story on a real text, in about ten minutes on two cores
# make test   lint, types and tests
# make lint   ruff and mypy alone
# make site   run the chapters and build the walkthrough's pages: runs/site/index.html
# make bench  speed and memory beside other libraries, on the same weights
# make gpu    what a GPU gives: the numbers checked, the speed beside transformers (9 minutes)
# make clean  remove the virtual environment and the caches; runs stay

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test lint site bench gpu clean

demo: $(READY)
	$(BIN)/plainformer demo

test: lint
	$(BIN)/pytest -q -n auto

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

site: $(READY)
	$(BIN)/python -m walkthrough.site

bench: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/speed.py --memory

gpu: $(READY)
	$(BIN)/python benchmarks/gpu.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

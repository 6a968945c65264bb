# Everything runs in a virtual environment of its own, set up on first use.
#
#   make demo    render a clip whose depth is known, lift it, compare with the truth (< 6 minutes)
#   make test    the test suite
#   make lint    ruff, ruff format, mypy
#   make clean   remove the environment, the demo and caches
#
# pip is steered by its usual variables, e.g. PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS. On Linux
# the PyTorch that PyPI serves brings several GB of CUDA libraries; where only a CPU is at hand,
# point PIP_EXTRA_INDEX_URL at PyTorch's index of CPU wheels.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TORCH := $(shell grep '^torch==' constraints.txt)
SETUPTOOLS := $(shell grep '^setuptools==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

help:
	@sed -n '/^#   make/s/^#  *//p' Makefile

# The package and what it needs to run.
$(VENV)/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kinedepth needs Python 3.11 or later: make PYTHON=/path/to/it" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "No virtual environment could be made; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing kinedepth into $(VENV) ..."
	@# PyTorch by itself first: that pins the one package that differs between CPU and CUDA.
	@$(PIP) install --constraint constraints.txt "$(TORCH)" "$(SETUPTOOLS)"
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable .
	@touch $@

# And what tests, checks and the optional viewers need.
$(VENV)/.all: $(VENV)/.core
	@echo "Installing what tests and checks need ..."
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[dev,view,hub,diffusion,exr,scenes,ray]'
	@touch $@

DEMO_CLIP := demo/clip/clip0000

demo: $(VENV)/.core
	$(BIN)/kinedepth synth demo/clip --clips 1 --frames 48 --seed 7
	$(BIN)/kinedepth lift $(DEMO_CLIP).mp4 -o demo/out --queries $(DEMO_CLIP).npz --overwrite
	$(BIN)/python examples/03_compare_with_truth.py demo/out $(DEMO_CLIP).npz
	@echo
	@echo "Open demo/out/scene.html in a browser, or play demo/out/overlay.mp4."

test: $(VENV)/.all
	$(BIN)/python -m pytest

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

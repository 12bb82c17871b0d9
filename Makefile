# make demo: install, train the method on built-in data, evaluate, draw.
# make test: install, run all tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint requirements/constraints.txt
NEEDS := setup.py pyproject.toml $(wildcard requirements/*.txt)

.PHONY: demo test install lint clean

demo: install
	$(BIN)/python demo/demo.py

test: $(VENV)/.tests
	$(BIN)/python -m pytest

install: $(VENV)/.installed

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.installed: $(NEEDS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo 'mmprotomtl needs Python 3.10 or newer: make PYTHON=...'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
		{ echo 'Python has no venv: apt install python3-venv'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing torch, OpenMMLab (OneDL) and mmprotomtl into $(VENV) ...'
	$(PIP) -r requirements/build.txt
	$(PIP) -e '.[onedl]'
	@# opencv-python, which mmcv asks for, needs libraries of a desktop. The
	@# headless one has the same module and needs none.
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python
	$(PIP) --force-reinstall --no-deps opencv-python-headless
	$(BIN)/python -c 'import mmprotomtl'
	@touch $@

$(VENV)/.tests: $(VENV)/.installed $(wildcard requirements/tests*.txt)
	$(PIP) -r requirements/tests.txt
	$(PIP) --no-deps -r requirements/tests-no-deps.txt
	@touch $@

$(VENV)/.lint: $(VENV)/.installed
	$(PIP) ruff mypy
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info work_dirs

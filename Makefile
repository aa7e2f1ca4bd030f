# Two commands for a fresh machine (Python >= 3.11, make, git): `make demo` and `make test`.
# They make .venv by themselves. TORCH_INDEX_URL=... takes torch from that index (CPU-only builds, say);
# a torch that $(PYTHON) already has is used as it is.

PYTHON  ?= python3
VENV    := .venv
PY      := $(VENV)/bin/python
PY_DOCS := $(VENV)-docs/bin/python
EXTRAS_DEMO := dicom,report
EXTRAS_TEST := dicom,classifier,report,video,tensorboard,privacy,oracles,dev

.PHONY: help demo test test-slow test-gpu proof lint check fix bench wheel docs clean

help:
	@echo "make demo       phantom DICOM -> training -> metrics -> audit -> report -> card, on this computer"
	@echo "make test       the fast tests (6 minutes on 2 cores)"
	@echo "make check      format, lint, types, spelling, fast tests     make fix   repairs format and lint"
	@echo "make test-slow  the slow tests     make test-gpu  those for an accelerator     make proof  hours, by hand"
	@echo "make wheel      the package as one file in dist, for pip and pipx"
	@echo "make docs       the pages as a site, in site; a dead link is an error"
	@echo "make bench      speed, as dated JSON in benchmarks/results"

$(PY):
	@if [ -z "$$TORCH_INDEX_URL" ] && $(PYTHON) -c "import torch" 2>/dev/null; then \
	    echo "using the torch that $(PYTHON) has"; $(PYTHON) -m venv --system-site-packages $(VENV); \
	    grep -v -E '^(torch|numpy)==' constraints.txt > $(VENV)/constraints.txt; \
	else \
	    $(PYTHON) -m venv $(VENV) && cp constraints.txt $(VENV)/constraints.txt; \
	    if [ -n "$$TORCH_INDEX_URL" ]; then \
	        $(PY) -m pip install --quiet --index-url "$$TORCH_INDEX_URL" "$$(grep -E '^torch==' constraints.txt)"; fi; \
	fi

$(VENV)/.demo: $(PY) pyproject.toml constraints.txt
	@echo "installing into $(VENV) (once; a few minutes)"
	@$(PY) -m pip install --quiet -c $(VENV)/constraints.txt -e ".[$(EXTRAS_DEMO)]"
	@touch $@

$(VENV)/.test: $(PY) pyproject.toml constraints.txt
	@echo "installing into $(VENV) (once; a few minutes)"
	@$(PY) -m pip install --quiet -c $(VENV)/constraints.txt -e ".[$(EXTRAS_TEST)]"
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(PY) -m spine_plugins demo --out demo

test: $(VENV)/.test
	$(PY) -m pytest -q -rs --durations=10

test-slow: $(VENV)/.test
	$(PY) -m pytest -q -m "slow and not gpu" -rs --durations=15

test-gpu: $(VENV)/.test
	$(PY) -m pytest -q -m gpu

proof: $(VENV)/.test
	$(PY) -m pytest -q -s -m proof

lint: $(VENV)/.test
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy stylegan2ada spine_plugins benchmarks
	$(VENV)/bin/codespell --config .codespellrc

check: lint test

fix: $(VENV)/.test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(VENV)/.test
	$(PY) benchmarks/ops.py
	$(PY) benchmarks/step.py
	$(PY) benchmarks/data.py
	$(PY) benchmarks/dicom.py
	$(PY) benchmarks/privacy.py

wheel: $(PY)
	@rm -rf build dist
	@$(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

# An environment of its own: the site needs neither torch nor us installed.
$(VENV)-docs/.docs: pyproject.toml
	@$(PYTHON) -m venv $(VENV)-docs
	@$(PY_DOCS) -c "import tomllib; \
	    print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'], sep='\n')" \
	    > $(VENV)-docs/requirements.txt
	@$(PY_DOCS) -m pip install --quiet -r $(VENV)-docs/requirements.txt
	@touch $@

docs: $(VENV)-docs/.docs
	$(PY_DOCS) -m mkdocs build --strict

clean:
	rm -rf $(VENV) $(VENV)-docs site demo build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache

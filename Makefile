# make run    starts the recorder on its embedded defaults      make test   sets up and runs the tests
# make lint   style and types                                   make install, make uninstall   as a service (DESTDIR=)
# make demo   records a call and shows it                       make bench  how many calls a core records (ARGS=)
# make bench-codecs  what each codec costs                      make fuzz-codecs  damaged payloads for every codec (SECONDS=)

VENV := .venv
PYTHON ?=
DESTDIR ?=
SECONDS ?= 60
OPT := /opt/siprec
UNITS := /usr/lib/systemd/system
BIN := /usr/local/bin
ETC := /etc/siprec
STATE := /var/lib/siprec
SOURCES := pyproject.toml README.md LICENSE MANIFEST.in siprec rtp codecs storage conf

# The versions of constraints.txt hold for the build environments as well.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run demo test bench bench-codecs fuzz-codecs lint install uninstall clean

help:
	@sed -n 's/^# //p' Makefile | head -4

setup: $(VENV)/.setup
setup-dev: $(VENV)/.setup-dev

$(VENV)/.setup: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python && $(VENV)/bin/python -m pip --version >/dev/null 2>&1 || { \
	  python=$$(PYTHON="$(PYTHON)" sh conf/find-python) && echo "creating $(VENV) with $$python" && \
	  "$$python" -m venv --clear $(VENV); }
	@echo "installing the pinned packages into $(VENV)"
	@$(VENV)/bin/python -m pip install -q --editable .
	@touch $@

$(VENV)/.setup-dev: $(VENV)/.setup
	@echo "installing what the tests need"
	@$(VENV)/bin/python -m pip install -q --editable '.[dev,postgres,pjsua2]'
	@touch $@

run: $(VENV)/.setup
	@exec $(VENV)/bin/siprec serve

demo: $(VENV)/.setup
	@$(VENV)/bin/python -m siprec.cli.demo

test: $(VENV)/.setup-dev
	@$(VENV)/bin/python -m pytest -n auto --dist worksteal $(ARGS)

bench: $(VENV)/.setup-dev
	@$(VENV)/bin/python -m benchmarks.calls $(ARGS)

bench-codecs: $(VENV)/.setup-dev
	@$(VENV)/bin/python -m benchmarks.codecs $(ARGS)

fuzz-codecs: $(VENV)/.setup-dev
	@$(VENV)/bin/python -m tests.fuzz.codecs --seconds $(SECONDS) $(ARGS)

lint: $(VENV)/.setup-dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

# The wheel is built from a copy: root leaves nothing in the tree, and nothing of an older tree gets in.
# Scripts and configuration of a virtual environment hold the folder it was made in: with DESTDIR= it is cut off again.
install:
	@python=$$(PYTHON="$(PYTHON)" PATH=/usr/local/bin:/usr/bin:/bin sh conf/find-python) && \
	  "$$python" -m venv --clear "$(DESTDIR)$(OPT)"
	@work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && cp -r $(SOURCES) "$$work" && \
	  "$(DESTDIR)$(OPT)/bin/python" -m pip wheel -q --no-deps --wheel-dir "$$work/wheel" "$$work" && \
	  "$(DESTDIR)$(OPT)/bin/python" -m pip install -q --no-compile "$$(ls "$$work"/wheel/siprec-*.whl)[postgres]"
	@if [ -n "$(DESTDIR)" ]; then \
	  grep -rlIF "$(DESTDIR)$(OPT)" "$(DESTDIR)$(OPT)/bin" "$(DESTDIR)$(OPT)/pyvenv.cfg" | xargs sed -i "s|$(DESTDIR)$(OPT)|$(OPT)|g"; fi
	@"$(DESTDIR)$(OPT)/bin/python" -m compileall -q -f -s "$(DESTDIR)" -p / "$(DESTDIR)$(OPT)/lib"
	@install -D -m 644 conf/siprec.service "$(DESTDIR)$(UNITS)/siprec.service"
	@install -D -m 644 conf/siprec.sysusers "$(DESTDIR)/usr/lib/sysusers.d/siprec.conf"
	@install -D -m 644 conf/siprec.tmpfiles "$(DESTDIR)/usr/lib/tmpfiles.d/siprec.conf"
	@install -d -m 755 "$(DESTDIR)$(BIN)" "$(DESTDIR)$(ETC)"
	@install -d -m 750 "$(DESTDIR)$(STATE)"
	@ln -sf $(OPT)/bin/siprec "$(DESTDIR)$(BIN)/siprec"
	@if [ ! -e "$(DESTDIR)$(ETC)/siprec.yaml" ]; then \
	  sed -e 's|^  path: recordings$$|  path: $(STATE)|' -e 's|^  socket: siprec.sock$$|  socket: /run/siprec/siprec.sock|' \
	    conf/siprec.yaml >"$(DESTDIR)$(ETC)/siprec.yaml" && chmod 640 "$(DESTDIR)$(ETC)/siprec.yaml"; fi
	@if [ -z "$(DESTDIR)" ]; then \
	  systemd-sysusers siprec.conf && systemd-tmpfiles --create siprec.conf && \
	  if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi && \
	  echo "installed; edit $(ETC)/siprec.yaml, then: systemctl enable --now siprec"; fi

uninstall:
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl disable --now siprec || true; fi
	@rm -rf "$(DESTDIR)$(OPT)"
	@rm -f "$(DESTDIR)$(UNITS)/siprec.service" "$(DESTDIR)$(BIN)/siprec"
	@rm -f "$(DESTDIR)/usr/lib/sysusers.d/siprec.conf" "$(DESTDIR)/usr/lib/tmpfiles.d/siprec.conf"
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	@echo "left in place: $(ETC), $(STATE) with the recordings, and the user siprec"

clean:
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

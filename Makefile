# The only commands anyone has to know. They need Python 3.11 or newer, make and git; `up` needs Docker.

PYTHON ?= python3
VENV := .venv
SDKS := .venv-sdks
BROWSER := .venv-browser
DOCS := .venv-docs
PACKAGES := .venv-packages
HAS_NPM := $(shell command -v npm 2>/dev/null)
NODE_SDKS := $(if $(HAS_NPM),tests/sdks/node/node_modules/.package-lock.json)
NODE_PACKAGES := $(if $(HAS_NPM),tests/packages/node/node_modules/.package-lock.json)
RUN := $(VENV)/bin/python -m
SIDE_BY_SIDE := --numprocesses=auto --maxprocesses=8 --dist=loadscope --no-loadscope-reorder

RUNTIME := server/requirements.txt client/requirements.txt
PINNED := $(RUNTIME) requirements/development.txt

# The tests start many programs. Each would compile all its modules at each start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint types-js coverage check generate bench sdks bad-days browser packages docs up lock

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/runtime ## watch three jobs go from pending to their end, without Docker
	@$(VENV)/bin/python examples/demo.py

test: $(VENV)/development ## run every test that this machine can run; COVERAGE=1 measures what they cover
	$(if $(COVERAGE),$(RUN) coverage erase)
	$(RUN) $(if $(COVERAGE),coverage run -m) pytest $(SIDE_BY_SIDE)

lint: $(VENV)/development ## check the format, style, words, types and architecture
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(VENV)/bin/python tools/check_words.py
	$(RUN) mypy server
	$(RUN) mypy client
	$(RUN) mypy examples benchmarks tools conftest.py tests/pair.py tests/test_scale.py test_integration.py
	$(VENV)/bin/lint-imports
	$(if $(HAS_NPM)$(REQUIRE_NODE),$(MAKE) --no-print-directory types-js,@echo 'npm is not installed: the JavaScript of the dashboard is not checked')

types-js: tools/typescript/node_modules/.package-lock.json ## check the types in the JavaScript of the dashboard; needs npm
	tools/typescript/node_modules/.bin/tsc --project tools/typescript

coverage: $(VENV)/development ## check what the last tests with COVERAGE=1 covered
	$(RUN) coverage combine --quiet
	$(RUN) coverage report --include '*/translation_server/*' --fail-under=95
	$(RUN) coverage report --include '*/translation_client/*,*/pytest_translation_client.py' --fail-under=95

check: lint ## lint, every test, and coverage
	$(MAKE) test COVERAGE=1
	$(MAKE) coverage

generate: $(VENV)/development ## write the generated files anew
	$(VENV)/bin/python tools/generate_sync_client.py
	$(VENV)/bin/python tools/copy_dialects.py
	$(VENV)/bin/python tools/copy_package_files.py
	$(VENV)/bin/python tools/record_transcripts.py

bench: $(VENV)/bench ## measure how well everybody waits and how fast the server is, and write the tables in docs/
	$(VENV)/bin/python benchmarks/waiting.py --write
	$(VENV)/bin/python benchmarks/live.py --write
	$(VENV)/bin/python benchmarks/async_polls.py --write
	$(VENV)/bin/python benchmarks/report_cards.py --write
	$(VENV)/bin/python benchmarks/peers.py --write
	$(VENV)/bin/python benchmarks/databases.py
	$(VENV)/bin/python benchmarks/server.py --write

sdks: $(SDKS)/installed $(NODE_SDKS) ## drive the official clients of other APIs against the server, each with the API that it is for
	$(SDKS)/bin/python -m pytest -W ignore::ResourceWarning tests/sdks  # some clients cannot be closed

bad-days: $(SDKS)/installed ## measure how they wait in each scenario, and write the tables in docs/sdks-on-bad-days.md
	$(SDKS)/bin/python benchmarks/sdks.py --write

browser: $(BROWSER)/installed ## try the dashboard in Chromium; with SCREENSHOTS=1, take the pictures in docs/ anew
	$(BROWSER)/bin/python -m pytest tests/browser

packages: $(PACKAGES)/installed $(NODE_PACKAGES) ## build the wheels and images, and try them in clean environments, as a user gets them
	$(PACKAGES)/bin/python -m pytest tests/packages

docs: $(DOCS)/installed ## build the site of the documentation in build/site, without the internet
	$(DOCS)/bin/python tools/build_site.py

up: .env ## the pair in Docker, with the settings of .env
	docker compose up --build

lock: $(VENV)/runtime ## pin the newest versions of everything
	$(RUN) pip install --quiet uv
	$(LOCK) server/pyproject.toml -o server/requirements.txt
	$(LOCK) -c server/requirements.txt --extra httpx2 client/pyproject.toml -o client/requirements.txt
	$(LOCK) $(RUNTIME:%=-c %) --group dev -o requirements/development.txt
	$(LOCK) $(PINNED:%=-c %) --group bench -o requirements/benchmarks.txt
	$(LOCK) $(PINNED:%=-c %) --group browser -o requirements/browser.txt
	$(LOCK) $(PINNED:%=-c %) --group packages -o requirements/packages.txt
	$(LOCK) $(PINNED:%=-c %) --group docs -o requirements/docs.txt
	$(LOCK) --no-strip-extras $(PINNED:%=-c %) --group sdks -o requirements/sdks.txt
	for folder in tests/sdks/node tools/typescript; do (cd $$folder && rm package-lock.json && \
		npm install --loglevel=error --package-lock-only \
		$$(node -p 'Object.keys(require("./package.json").dependencies).map((name) => name + "@latest").join(" ")')) || exit; done
	cd tests/packages/node && rm package-lock.json && npm install --loglevel=error --package-lock-only

LOCK = $(RUN) uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --quiet \
	--no-header --no-annotate

# The virtual environment, made anew when what it holds changes; one that you made yourself is kept. The stamps say what
# was installed.

$(VENV)/runtime: $(RUNTIME)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"Python 3.11 or newer is needed: make PYTHON=python3.13 ...")'
	$(PYTHON) -m venv $(if $(wildcard $@),--clear) $(VENV)
	$(RUN) pip install --quiet --require-hashes $(RUNTIME:%=-r %)
	@touch $@

$(VENV)/development: $(VENV)/runtime requirements/development.txt server/pyproject.toml client/pyproject.toml
	$(RUN) pip install --quiet --require-hashes $(PINNED:%=-r %)
	$(RUN) pip install --quiet --no-build-isolation --no-deps -e server -e client
	@touch $@

$(VENV)/bench: $(VENV)/development requirements/benchmarks.txt
	$(RUN) pip install --quiet --require-hashes -r requirements/benchmarks.txt
	@touch $@

# The official clients of other APIs, and the driver of a browser, have virtual environments of their own: nothing else may
# come to need them.

$(SDKS)/installed $(BROWSER)/installed $(PACKAGES)/installed $(DOCS)/installed: .venv-%/installed: $(RUNTIME) requirements/%.txt server/pyproject.toml client/pyproject.toml
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --require-hashes $(RUNTIME:%=-r %) -r requirements/$*.txt
	.venv-$*/bin/python -m pip install --quiet --no-build-isolation --no-deps -e server -e client
	@touch $@

%/node_modules/.package-lock.json: %/package.json %/package-lock.json %/.npmrc
	cd $* && npm ci --loglevel=error
	@touch $@

.env:
	cp .env.example .env

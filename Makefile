# Everything a fresh machine with Python 3.10 or newer needs: make run, make test, make check, make bench.
PORT ?= 8000
SCALE ?= 1
PYTHON ?= $(shell scripts/find-python 3.13 3.12 3.11 3.10)
OLDEST_PYTHON := $(shell scripts/find-python 3.10)
BIN := .venv/bin
# Servers, disks and crowds of clients behave the same under any version of ours: these run on the newest set only.
LOAD_TESTS := $(addprefix tests/faults/test_,restarts.py transfers.py saturation.py recycling.py durability.py sqlite.py)
# Tests of the fault suite's promises that need no fault.
PROMISED_ELSEWHERE = $(shell $(BIN)/python -m tests.faults.report) $(addprefix tests/suite/test_,outbox.py relay.py relay_processes.py) \
  tests/suite/test_run.py::test_a8_each_attempt_has_a_session_of_its_own
FUZZ_EXAMPLES ?= 50000
PAGE_EXAMPLES ?= 20000
API_CASES ?= 2000
PYTEST := -q -n 2 --dist loadgroup
# Coverage takes half as long again, so it is measured on SQLite, without what invents examples or breaks servers.
UNMEASURED := postgresql or mariadb or fuzz or paging or faults
# Percent of lines and branches, as reached.
COVERED := 92
# Where an image sets it, each of the many processes of a test run would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run run-postgres test test-newest test-oldest fuzz fuzz-pages conformance differential faults mutate check format bench bench-report bench-sizes bench-orm lock clean

run: .venv/.installed
	@$(BIN)/python -m examples.blog --port $(PORT)

run-postgres: .venv/.installed
	@$(BIN)/python -m examples.blog --port $(PORT) --postgres

test: test-newest test-oldest

test-newest: .venv/.installed
	@echo "Newest set: $$($(BIN)/python scripts/versions.py)"
	$(BIN)/python -m pytest $(PYTEST) -k "not ($(UNMEASURED))" --cov --cov-report=term --cov-fail-under=$(COVERED)
	$(BIN)/python -m pytest $(PYTEST) -k "$(UNMEASURED)"

ifeq ($(OLDEST_PYTHON),)
test-oldest:
	@echo "Oldest set: skipped, there is no Python 3.10 here."
else
# What runs on psycopg on the newest set runs on psycopg2 here, but for asyncio.
test-oldest: .venv-oldest/.installed
	@echo "Oldest set: $$(.venv-oldest/bin/python scripts/versions.py)"
	.venv-oldest/bin/python -m pytest $(PYTEST) --psycopg2 --fuzz-examples=200 --hypothesis-profile=few $(LOAD_TESTS:%=--ignore=%)
endif

# Prints what failed with a blob to repeat it; failures are tried again first, from .hypothesis.
# Stops at the first difference: another database, which cannot reproduce it, would throw the example away.
fuzz: .venv/.installed
	$(BIN)/python -m pytest tests/fuzz -q -n 2 -k fetch_equals_orm_and_pydantic --maxfail=1 --fuzz-examples=$(FUZZ_EXAMPLES)

# SQLAlchemy's own ORM tests, of the installed version, with a fetch beside each statement that passes a Session.
differential: .venv/.installed
	@$(BIN)/python -m tests.differential

# Invents so many statements on each database, compares their pages with their rows, and prints what they were.
fuzz-pages: .venv/.installed
	$(BIN)/python -m pytest tests/paging -q -n 2 --page-examples=$(PAGE_EXAMPLES)

# Chains of requests that schemathesis makes up, and a generated client: what OpenAPI says, held against the answers.
conformance: .venv/.installed
	$(BIN)/python -m pytest tests/conformance -q -s --api-cases=$(API_CASES)

# Breaks a copy of the source on purpose, one thing after the other: scripts/mutations.toml.
mutate: .venv/.installed
	@$(BIN)/python scripts/mutate.py

# One test after the other: several restart their server and measure how long it takes them to recover.
faults: .venv/.installed
	$(BIN)/python -m pytest tests/faults $(PROMISED_ELSEWHERE) -q --faults=full

check: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

format: .venv/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.installed
	@$(BIN)/python -m benchmarks

# What instances and transactions cost, each beside SQLAlchemy's own.
bench-orm: .venv/.installed
	@$(BIN)/python -m benchmarks.typed --scale $(SCALE)
	@$(BIN)/python -m benchmarks.transactions --scale $(SCALE)

# Measure everything and write it into docs/benchmarks.md; SCALE=0.3 is quick and rough.
bench-report: .venv/.installed
	$(BIN)/python -m benchmarks --scale $(SCALE) --save
	$(BIN)/python -m benchmarks.web --scale $(SCALE) --save
	$(BIN)/python -m benchmarks.growth --scale $(SCALE) --save
	$(BIN)/python -m benchmarks.charts
	$(BIN)/python -m benchmarks.report

bench-sizes: .venv/.installed
	$(BIN)/python -m benchmarks.sizes --scale $(SCALE) --save
	$(BIN)/python -m benchmarks.report

# Resolve again, for every supported Python at once; review the difference before committing it.
lock: .venv/.installed
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate --no-emit-index-url --upgrade \
	  --all-extras --group test --group conformance --group coverage --group lint --group bench pyproject.toml scripts/uv.in -o constraints/newest.txt
	$(BIN)/uv pip compile --quiet --python-version 3.10 --resolution lowest-direct --no-header --no-annotate --no-emit-index-url --upgrade \
	  --all-extras --group test pyproject.toml scripts/uv.in -o constraints/oldest.txt

.venv/.installed: pyproject.toml constraints/newest.txt scripts/environment
	@scripts/environment .venv "$(PYTHON)" constraints/newest.txt test conformance coverage lint bench

.venv-oldest/.installed: pyproject.toml constraints/oldest.txt scripts/environment
	@scripts/environment .venv-oldest "$(OLDEST_PYTHON)" constraints/oldest.txt test

clean:
	rm -rf .venv .venv-oldest .data .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Every target does its own set-up; a second call starts in seconds and installs nothing.
PYTHON ?= python3
PY := .venv/bin/python
# Containers forbid it often, and then each process of a test, some thousand, compiles the project anew.
unexport PYTHONDONTWRITEBYTECODE
# Processes of the tests, each with services of its own. One test alone: $(PY) -m pytest PATH.
WORKERS ?= 2

# What speaks to Redis and PostgreSQL itself, and asks little of Kafka.
SERVICE_TESTS = $(addprefix tests/integration/,lua/test_script.py lua/test_script_fence.py lua/test_script_ground.py control/test_acts.py \
	log_worker/test_storage.py log_worker/test_storage_conflicts.py log_worker/test_log_worker.py \
	recovery/test_recovery.py recovery/test_late_arrivals.py recovery/test_older_postgres.py \
	consumer/test_guard.py consumer/test_consumer_recovery.py audit/test_audit.py monitoring/test_metrics.py \
	monitoring/test_fitness.py telemetry/test_workers.py process/test_commands.py)

# What checks the chart.
HELM := v3.22.0

.PHONY: help setup run demo test test-browser test-services test-clients test-chart messages config-reference unit lint quick faults search \
	mutants rules lock clean
help:            ## this list
	@grep -E "^[a-z-]+:.*##" Makefile | sed -E "s/:[^#]*##/\t/" | expand -t 18

setup:           ## virtual environment with the locked dependencies
	@$(PYTHON) devstack/bootstrap.py

run: setup       ## services, a whole sale, result, audit; serves until Ctrl-C. SANDBOX=1: one to fuzz. LANES=2: in two lanes
	@$(PY) manage.py run_sale --stop-with-parent $(if $(SANDBOX),--sandbox) $(if $(LANES),--lanes $(LANES))

demo: setup      ## the same, and ends: exit code 0 only if audit and answers are clean
	@$(PY) manage.py run_sale --demo --stop-with-parent $(if $(LANES),--lanes $(LANES))

test: setup lint ## everything that CI checks
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal

test-browser: setup ## the desk in Debian's Chromium, installed as root where it is missing; screenshots/
	@test -x /usr/bin/chromium || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive \
		apt-get install -qy --no-install-recommends chromium fonts-noto-cjk; } || \
		{ echo "Chromium is missing: as root, apt-get install chromium; then make test-browser again"; exit 1; }
	@$(PY) -m pytest tests/browser

test-services: setup ## the heart on Debian's Redis 7.0 and behind its pgbouncer, installed as root where missing
	@test -x /usr/bin/redis-server -a -x /usr/sbin/pgbouncer || { [ "$$(id -u)" = 0 ] && \
		command -v apt-get >/dev/null && apt-get update -q && DEBIAN_FRONTEND=noninteractive \
		apt-get install -qy --no-install-recommends redis-server pgbouncer; } || \
		{ echo "Missing: as root, apt-get install redis-server pgbouncer; then make test-services again"; exit 1; }
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal \
		--redis-server /usr/bin/redis-server --pgbouncer /usr/sbin/pgbouncer $(SERVICE_TESTS)

test-clients: setup ## a TypeScript client, generated from the API's document (Node 20 or later, npm)
	@command -v node >/dev/null && command -v npm >/dev/null || \
		{ echo "Node is missing: install Node 20 or later with npm; then make test-clients again"; exit 1; }
	@npm ci --prefix tests/clients/typescript --no-audit --no-fund --silent
	@$(PY) -m pytest tests/clients

unit: setup      ## tests that need no service
	@$(PY) -m pytest tests/unit

quick: setup lint ## lint, the tests of what changed since main, and the script's: two minutes
	@$(PY) -m tests.quick

faults: setup    ## real processes, killed; RUNS=200 kills in one sale, DOOR=1000000 clicks, HOLDS=100000, SEED=n again
	@RUNS=$(RUNS) DOOR=$(DOOR) HOLDS=$(HOLDS) FAULT_SEED=$(SEED) $(PY) -m pytest $(or $(strip \
		$(if $(RUNS),tests/faults/test_random_kills.py) $(if $(DOOR),tests/faults/test_door_kills.py) \
		$(if $(HOLDS),tests/faults/test_hold_kills.py)),tests/faults)

search: setup    ## random steps over a whole lane, held to an oracle; STEPS=1000000, SEED=n, MIX="two masters"
	@SEARCH_STEPS=$(STEPS) SEARCH_SEED=$(SEED) SEARCH_MIX="$(MIX)" $(PY) -m pytest -s tests/search/test_search.py

mutants: setup   ## small faults in a copy of the code, which tests must notice; N=100, SEED=n, ONLY=lua
	@N=$(N) SEED=$(SEED) ONLY=$(ONLY) nice -n 10 $(PY) -m tests.mutants

lint: setup      ## style, types, imports, migrations
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-logo
	@SECKILL_CONFIG=/dev/null $(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

rules:           ## alert rules and who is told, checked by Debian's prometheus and prometheus-alertmanager
	@command -v promtool >/dev/null && command -v amtool >/dev/null || { [ "$$(id -u)" = 0 ] && \
		command -v apt-get >/dev/null && apt-get update -q && DEBIAN_FRONTEND=noninteractive \
		apt-get install -qy --no-install-recommends prometheus prometheus-alertmanager; } || \
		{ echo "Missing: as root, apt-get install prometheus prometheus-alertmanager; then make rules again"; exit 1; }
	@promtool check config deploy/prometheus/prometheus.yml --syntax-only
	@promtool check rules deploy/prometheus/alerts.yml
	@promtool test rules deploy/prometheus/alerts_test.yml
	@amtool check-config deploy/alertmanager/alertmanager.yml
	@for case in critical:everybody warning:chat; do \
		amtool config routes test --config.file deploy/alertmanager/alertmanager.yml \
			--verify.receivers "$${case#*:}" "severity=$${case%:*}" 2>/dev/null || exit 1; done

test-chart: setup ## the chart in deploy/helm: helm lint and template, Kubernetes's own schemas (Go builds helm once)
	@test -x .chart/bin/helm || { command -v go >/dev/null && \
		echo "test-chart: building helm into .chart (once, some minutes)" && \
		GOBIN="$(CURDIR)/.chart/bin" go install -ldflags="-s -w" helm.sh/helm/v3/cmd/helm@$(HELM); } || \
		{ echo "helm is missing: install Go 1.26 or later, or put helm 3 at .chart/bin/helm; then make test-chart again"; exit 1; }
	@test -d .chart/python/kubernetes_validate || .venv/bin/uv pip install -q --no-deps --target .chart/python \
		-r tests/chart/requirements.txt
	@$(PY) -m pytest tests/chart

messages: setup  ## texts into the Chinese catalogue (needs gettext), and the catalogue compiled
	@SECKILL_CONFIG=/dev/null $(PY) -W ignore::RuntimeWarning manage.py makemessages -l zh_Hans \
		--no-obsolete --no-wrap --no-location -i .venv -i tests
	@$(PY) -c "import polib; f = 'seckill/locale/zh_Hans/LC_MESSAGES/django.'; \
		polib.pofile(f + 'po').save_as_mofile(f + 'mo')"

config-reference: setup ## docs/configuration.md, from the descriptions of the parameters
	@SECKILL_CONFIG=/dev/null $(PY) -W ignore::RuntimeWarning manage.py config_reference > docs/configuration.md

LOCKED := .venv/bin/uv pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header -q
lock: setup      ## rebuild both locks from requirements.txt: the whole, and what the image has
	@$(LOCKED) requirements.txt -o requirements.lock
	@sed "/^# --- /,\$$d" requirements.txt | $(LOCKED) - -c requirements.lock --no-annotate -o requirements-production.lock

clean:           ## remove the virtual environment, the services and their data
	@if [ -x $(PY) ]; then $(PY) manage.py devstack down --remove-data; fi
	@if [ -x $(PY) ] && [ -d .devstack-lanes ]; then \
		SECKILL_DEVSTACK=.devstack-lanes $(PY) manage.py devstack down --remove-data; fi
	@rm -rf .venv .mypy_cache .ruff_cache .hypothesis staticfiles

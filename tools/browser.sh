#!/usr/bin/env bash
# Tries the gateway's page in a real browser, and its OpenAPI document with schemathesis; installs what the tests need into
# ROOT/.venv first. Chromium and its driver are the system's (Debian: apt-get install chromium chromium-driver).
#   tools/browser.sh [pytest arguments]
set -euo pipefail
# shellcheck source=tools/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
ensure_venv test,browser,schema
cd -- "$ROOT"
exec .venv/bin/pytest -m long -n 2 tests/gateway "$@"

# shellcheck shell=bash
# Sourced by the scripts beside it and by .ci/run; defines ROOT (the checkout) and:
#
#   find_python           prints a Python this package runs on that can make a virtual environment; fails if there is none
#   ensure_venv [EXTRAS]  makes ROOT/.venv where it is missing or broken and installs the package into it, editable, with
#                         EXTRAS ("test", or "test,lint"), where setup.cfg or pyproject.toml changed since the last time
#
# PYTHON names the interpreter to use. Everything said goes to standard error.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)

find_python() {
  local candidate candidates=(python3.13 python3.12 python3.11 python3)
  if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
  for candidate in "${candidates[@]}"; do
    # Debian ships the module venv without ensurepip, and then `-m venv` leaves half an environment behind.
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v -- "$candidate"
      return
    fi
  done
  _explain_missing_python >&2
  return 1
}

ensure_venv() {
  local extras=${1-}
  _is_installed "$extras" && return
  # The lock is on the checkout itself: two that start at once take turns, and no lock file is left behind. Python's
  # flock does what flock(1) does, and is there where util-linux is not.
  (
    python=$(find_python) || exit
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' || exit
    _is_installed "$extras" || _install "$python" "$extras"
  ) 9<"$ROOT"
}

_install() {
  local python=$1 extras=$2 stamp
  cd -- "$ROOT" || return
  stamp=$(_stamp_file "$extras")
  # Without --clear what a broken or a copied environment holds would shine through.
  if ! _is_sound; then
    echo "Making a virtual environment in $ROOT/.venv" >&2
    "$python" -m venv --clear .venv || return
  fi
  echo "Installing sttp_reactor${extras:+[$extras]} into $ROOT/.venv" >&2
  if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extras:+[$extras]}" >&2; then
    echo "The installation failed; the lines above say why." >&2
    return 1
  fi
  _fingerprint >"$stamp"
}

# An environment works where it was made only: its scripts name their interpreter by its whole path.
_is_sound() {
  local stamp
  for stamp in .venv/.installed*; do
    if [ -e "$stamp" ] && ! head -n 1 "$stamp" | grep -qxF -- "$ROOT"; then return 1; fi
  done
  .venv/bin/python -m pip --version >/dev/null 2>&1
}

# What was installed for "test,lint" serves "test" and "" too: any stamp that begins with ours will do.
_is_installed() {
  local stamp current
  [ -x "$ROOT/.venv/bin/python" ] || return
  current=$(_fingerprint)
  for stamp in "$(_stamp_file "$1")"*; do
    if [ "$(cat -- "$stamp" 2>/dev/null)" = "$current" ]; then return 0; fi
  done
  return 1
}

_stamp_file() {
  printf '%s' "$ROOT/.venv/.installed${1:+-$1}"
}

# The interpreter is part of it: after an upgrade of the system's Python the link leads elsewhere, to no packages.
_fingerprint() {
  printf '%s\n' "$ROOT"
  readlink -f -- "$ROOT/.venv/bin/python"
  cat -- "$ROOT/setup.cfg" "$ROOT/pyproject.toml" | cksum
}

_explain_missing_python() {
  local found
  if [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON is not a Python 3.11 or later that can make virtual environments."
  elif ! command -v python3 >/dev/null; then
    echo "Python 3.11 or later is needed, and there is no python3."
  elif python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$(command -v python3) cannot make a virtual environment: its module venv or ensurepip is missing."
  else
    found=$(python3 -c 'import platform; print(platform.python_version())')
    echo "Python 3.11 or later is needed; $(command -v python3) is $found."
  fi
  echo "Install it: apt-get install python3 python3-venv     (Debian 12, Ubuntu 24.04 and later)"
  echo "            dnf install python3.12                   (Fedora, RHEL 9)"
  echo "            brew install python                      (macOS)"
  echo "or name another interpreter: PYTHON=/path/to/python3"
}

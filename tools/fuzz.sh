#!/usr/bin/env bash
# Looks for inputs that break a promise, guided by what the package runs through (atheris); tests/fuzz has the targets:
#   tools/fuzz.sh TARGET [SECONDS]     TARGET: parser, session, replies, config, recovery, or all; 60 seconds each
# What has been learnt stays in .hypothesis/fuzz, and the next run goes on from there. What breaks a promise is kept in
# tests/corpus/finds/TARGET, where the tests try it from then on: give it a name that says what it is, and commit it.
# Exit: 0 nothing found, 1 something found, 2 wrong command line, 69 atheris cannot be had here, or whatever else failed.
set -euo pipefail
# shellcheck source=tools/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
targets=(parser session replies config recovery)
found=77 # as libFuzzer ends where an input breaks a promise; 70 and 71 where one takes too long, or too much memory

refuse() {
  echo "fuzz.sh: $1" >&2
  echo "Usage: tools/fuzz.sh TARGET [SECONDS]     TARGET: ${targets[*]}, or all" >&2
  exit 2
}

case " $* " in *" -h "* | *" --help "*)
  sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit
  ;;
esac
if [ $# -lt 1 ] || [ $# -gt 2 ]; then refuse "expected a target, and perhaps seconds"; fi
seconds=${2-60}
[[ $seconds =~ ^[1-9][0-9]{0,5}$ ]] || refuse "seconds are a whole number above 0, not '$seconds'"
if [ "$1" != all ]; then
  [[ " ${targets[*]} " == *" $1 "* ]] || refuse "unknown target '$1'"
  targets=("$1")
fi

ensure_venv test
if ! ensure_venv test,fuzz; then
  echo "fuzz.sh: atheris cannot be installed for $("$ROOT/.venv/bin/python" -V) on $(uname -sm)." >&2
  echo "It is there for CPython on Linux and x86-64; name another interpreter: PYTHON=/path/to/python3 (with .venv removed)." >&2
  echo "The same targets are tried by the tests without it: tools/test.sh tests/fuzz" >&2
  exit 69
fi

cd -- "$ROOT"
tests=$ROOT/tests
export PYTHONPATH=$ROOT:$tests:$tests/wire:$tests/store
# In memory where there is such a thing: a target that needs files needs thousands.
TMPDIR=$(if [ -d /dev/shm ]; then mktemp -d -p /dev/shm; else mktemp -d; fi)
export TMPDIR
trap 'rm -rf -- "$TMPDIR"' EXIT

code=0
for target in "${targets[@]}"; do
  echo "== $target, $seconds s"
  work=$ROOT/.hypothesis/fuzz/$target
  mkdir -p -- "$work"
  status=0
  nice -n 10 .venv/bin/python tests/fuzz/run_atheris.py "$target" "$work" "$seconds" >"$work/log" 2>&1 || status=$?
  case $status in
    0) grep -E 'DONE|stat::(number|average)' "$work/log" ;;
    "$found" | 70 | 71)
      tail -n 40 "$work/log" >&2
      echo "fuzz.sh: $target: something was found; it is in tests/corpus/finds/$target" >&2
      code=1
      ;;
    *)
      tail -n 40 "$work/log" >&2
      exit "$status"
      ;;
  esac
done
exit $code

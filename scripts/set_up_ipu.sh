#!/bin/sh
# Make .venv-ipu, the environment of the IPU program, from constraints-ipu.txt. It holds no podsquad: the flow puts that on
# the program's path.
#
#     scripts/set_up_ipu.sh
#
# IPU_PYTHON names the interpreter; without it the first of python3.11, python3.10, python3, python3.9, python3.8 that fits
# is taken.
set -eu
cd "$(dirname "$0")/.."

fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' >/dev/null 2>&1
}

say() { printf '%s\n' "$*" >&2; }

if [ -n "${IPU_PYTHON:-}" ]; then
    if ! fits "$IPU_PYTHON"; then
        say "error: $IPU_PYTHON is $("$IPU_PYTHON" --version 2>&1 || true); the IPU program needs Python 3.8 to 3.11"
        say "  do: make ipu-env IPU_PYTHON=/path/to/python3.11"
        exit 1
    fi
else
    for candidate in python3.11 python3.10 python3 python3.9 python3.8; do
        if fits "$candidate"; then IPU_PYTHON=$candidate; break; fi
    done
    if [ -z "${IPU_PYTHON:-}" ]; then
        found=$(python3 --version 2>&1 || echo "no python3")
        say "error: no Python 3.8 to 3.11 was found (there is: $found)"
        say "  why: optimum-graphcore 0.7.1 needs tokenizers 0.13.3, whose wheels end at 3.11"
        say "  do: install one of them, then: make ipu-env IPU_PYTHON=/path/to/python3.11"
        exit 1
    fi
fi

if ! "$IPU_PYTHON" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    version=$("$IPU_PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "error: $IPU_PYTHON has no venv module"
    say "  why: some systems ship it as a package of its own"
    say "  do: on Debian and Ubuntu: apt install python$version-venv"
    exit 1
fi

# One of another interpreter, or one whose making was cut short, is made anew.
if ! .venv-ipu/bin/python -c 'import sys, pip; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' >/dev/null 2>&1; then
    say "making .venv-ipu with $("$IPU_PYTHON" --version)"
    rm -rf .venv-ipu
    "$IPU_PYTHON" -m venv .venv-ipu
fi
say "installing packages into .venv-ipu (about a minute the first time)"
.venv-ipu/bin/python -m pip install --quiet --disable-pip-version-check --requirement constraints-ipu.txt \
    pytest pytest-timeout
.venv-ipu/bin/python -m pip check --disable-pip-version-check >&2

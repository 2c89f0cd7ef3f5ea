#!/bin/sh
# Make .venv with podsquad and the packages of the named extras, pinned by constraints.txt.
#
#     scripts/set_up.sh EXTRAS        for example: scripts/set_up.sh torch,test
#
# PYTHON names the interpreter; without it the first of python3, python3.12, python3.13, python3.11 that fits is taken.
set -eu
cd "$(dirname "$0")/.."
extras=$1

fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

say() { printf '%s\n' "$*" >&2; }

if [ -n "${PYTHON:-}" ]; then
    if ! fits "$PYTHON"; then
        say "error: $PYTHON is $("$PYTHON" --version 2>&1 || true); podsquad needs Python 3.11, 3.12 or 3.13"
        say "  do: make PYTHON=/path/to/python3.12 ..."
        exit 1
    fi
else
    for candidate in python3 python3.12 python3.13 python3.11; do
        if fits "$candidate"; then PYTHON=$candidate; break; fi
    done
    if [ -z "${PYTHON:-}" ]; then
        found=$(python3 --version 2>&1 || echo "no python3")
        say "error: no Python 3.11, 3.12 or 3.13 was found (there is: $found)"
        say "  why: prefect and transformers need 3.11 or newer, and newer than 3.13 was not tried"
        say "  do: install one of them, then: make PYTHON=/path/to/python3.12 ..."
        exit 1
    fi
fi

if ! "$PYTHON" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "error: $PYTHON has no venv module"
    say "  why: some systems ship it as a package of its own"
    say "  do: on Debian and Ubuntu: apt install python$version-venv"
    exit 1
fi

# A .venv of another interpreter, or one whose making was cut short, is made anew.
if ! .venv/bin/python -c 'import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
    say "making .venv with $("$PYTHON" --version)"
    rm -rf .venv
    "$PYTHON" -m venv .venv
fi
say "installing packages into .venv (about two minutes the first time)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$extras]"

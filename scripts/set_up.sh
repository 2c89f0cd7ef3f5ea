#!/bin/sh
# Make .venv with podsquad and the packages of the named extras, pinned by constraints.txt.
#
#     scripts/set_up.sh EXTRAS        for example: scripts/set_up.sh torch,test
#
# PYTHON names the interpreter; without it the first of python3, python3.12, python3.13, python3.11 that fits is taken.
set -eu
cd "$(dirname "$0")/.."
. scripts/find_python.sh
extras=$1
oldest='(3, 11)' newest='(3, 13)'

if [ -n "${PYTHON:-}" ]; then
    if ! fits "$PYTHON" "$oldest" "$newest"; then
        say "error: $PYTHON is $("$PYTHON" --version 2>&1 || true); podsquad needs Python 3.11, 3.12 or 3.13"
        say "  do: make PYTHON=/path/to/python3.12 ..."
        exit 1
    fi
elif ! PYTHON=$(first_that_fits "$oldest" "$newest" python3 python3.12 python3.13 python3.11); then
    found=$(python3 --version 2>&1 || echo "no python3")
    say "error: no Python 3.11, 3.12 or 3.13 was found (there is: $found)"
    say "  why: prefect and transformers need 3.11 or newer, and newer than 3.13 was not tried"
    say "  do: install one of them, then: make PYTHON=/path/to/python3.12 ..."
    exit 1
fi

make_environment .venv "$PYTHON" "$oldest" "$newest"
say "installing packages into .venv (about two minutes the first time)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$extras]"

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
. scripts/find_python.sh
oldest='(3, 8)' newest='(3, 11)'

if [ -n "${IPU_PYTHON:-}" ]; then
    if ! fits "$IPU_PYTHON" "$oldest" "$newest"; then
        say "error: $IPU_PYTHON is $("$IPU_PYTHON" --version 2>&1 || true); the IPU program needs Python 3.8 to 3.11"
        say "  do: make ipu-env IPU_PYTHON=/path/to/python3.11"
        exit 1
    fi
elif ! IPU_PYTHON=$(first_that_fits "$oldest" "$newest" python3.11 python3.10 python3 python3.9 python3.8); then
    found=$(python3 --version 2>&1 || echo "no python3")
    say "error: no Python 3.8 to 3.11 was found (there is: $found)"
    say "  why: optimum-graphcore 0.7.1 needs tokenizers 0.13.3, whose wheels end at 3.11"
    say "  do: install one of them, then: make ipu-env IPU_PYTHON=/path/to/python3.11"
    exit 1
fi

make_environment .venv-ipu "$IPU_PYTHON" "$oldest" "$newest"
say "installing packages into .venv-ipu (about a minute the first time)"
.venv-ipu/bin/python -m pip install --quiet --disable-pip-version-check --requirement constraints-ipu.txt \
    pytest pytest-timeout
.venv-ipu/bin/python -m pip check --disable-pip-version-check >&2

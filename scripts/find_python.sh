# Sourced by set_up.sh and set_up_ipu.sh from the checkout's folder: finds a Python and makes a virtual environment with it.
# POSIX sh. What a script says goes to standard error.

say() { printf '%s\n' "$*" >&2; }

# fits PYTHON OLDEST NEWEST: whether it starts and its version, as (3, 11), lies between the two.
fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c "import sys; sys.exit(not $2 <= sys.version_info[:2] <= $3)" >/dev/null 2>&1
}

# first_that_fits OLDEST NEWEST PYTHON...: print the first that fits; fail without one.
first_that_fits() {
    oldest=$1 newest=$2
    shift 2
    for candidate; do
        if fits "$candidate" "$oldest" "$newest"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# make_environment FOLDER PYTHON OLDEST NEWEST: make a virtual environment there, unless a whole one of a fitting Python
# is there: one of another interpreter, or one whose making was cut short, is made anew.
make_environment() {
    if ! "$2" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        version=$("$2" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        say "error: $2 has no venv module"
        say "  why: some systems ship it as a package of its own"
        say "  do: on Debian and Ubuntu: apt install python$version-venv"
        exit 1
    fi
    if ! "$1/bin/python" -c "import sys, pip; sys.exit(not $3 <= sys.version_info[:2] <= $4)" >/dev/null 2>&1; then
        say "making $1 with $("$2" --version)"
        rm -rf "$1"
        "$2" -m venv "$1"
    fi
}

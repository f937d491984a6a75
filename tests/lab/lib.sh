# shellcheck shell=bash
# For the scripts of tests/lab: cases are counted by lines "ok - NAME", "not ok - NAME", "ok - NAME # SKIP WHY".
set -u
failures=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# check NAME COMMAND...: one case; what the command printed is shown when it fails.
check() {
    local name=$1
    shift
    if "$@" >"$scratch/check" 2>&1; then
        echo "ok - $name"
    else
        echo "# status $? of: $*"
        sed 's/^/# /' "$scratch/check"
        echo "not ok - $name"
        failures=$((failures + 1))
    fi
}

# skip NAME WHY
skip() { echo "ok - $1 # SKIP $2"; }

# same EXPECTED ACTUAL
same() { [ "$1" = "$2" ] || { echo "expected '$1', got '$2'" && false; }; }

# contains FILE TEXT
contains() { grep -qF -- "$2" "$1" || { echo "no '$2' in:" && cat "$1" && false; }; }

finish() { exit $((failures > 0)); }

#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests. The last line is "N passed, N failed[, N skipped]".
#   ./test.sh                  everything: five builds, unit tests, checks, fuzz smoke, whole-VM tests in the lab
#   ./test.sh --quick          what needs no VM, in three minutes: release, and asan as far as it fits
#   ./test.sh --limit MINUTES  as much of everything as fits; what does not is counted as skipped, by name
#   ./test.sh --only PATTERN   only what matches the regular expression, in the release build and the lab;
#                              asan/PATTERN, lab/PATTERN and so on choose one of them
# Logs are in build/logs; CUPULE_JOBS limits how many compilers run at once.
set -uo pipefail
cd "$(dirname "$0")" || exit 1
. tools/tests/stages.sh

quick=0
minutes=
only=
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=1 ;;
        --limit) minutes=${2:?--limit needs minutes} && shift ;;
        --only) only=${2:?--only needs a pattern} && shift ;;
        --only=*) only=${1#*=} ;;
        -h | --help) sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0" && exit 0 ;;
        *) echo "test.sh: unknown argument '$1' (try --help)" >&2 && exit 64 ;;
    esac
    shift
done

# wants PLACE: whether --only leaves something to do there. Sets `pattern` to what names must match.
wants() {
    pattern=${only#"$1"/}
    case $only in
        "" | "$1" | "$1"/*) [ "$only" != "$1" ] || pattern= ;;
        release | clang | asan | tsan | fuzz | lab) return 1 ;;
        release/* | clang/* | asan/* | tsan/* | fuzz/* | lab/*) return 1 ;;
        *) [ "$1" = release ] || [ "$1" = lab ] ;;
    esac
}

# build PRESET
build() {
    stage "$1: configure" cmake --preset "$1" && stage "$1: build" cmake --build --preset "$1" -j "$jobs"
}

# preset NAME LABELS: builds one preset and runs its tests.
preset() {
    wants "$1" || return 0
    build "$1" && ctest_stage "$1: test" "$1" "$2" "$pattern"
}

lab() {
    wants lab || return 0
    # All of it was built before, unless --only chose the lab.
    case $only in lab | lab/*) build release || return ;; esac
    stage "lab: kernels" tools/lab/kernels && lab_stage "lab: test" "$pattern"
}

[[ ${minutes:-1} =~ ^[1-9][0-9]*$ ]] || { echo "test.sh: --limit takes minutes, not '$minutes'" >&2 && exit 64; }

begin
[ -z "$minutes" ] || limit_to $((minutes * 60))
stage "install" tools/install-deps || finish
preset release 'unit|check'
if [ "$quick" = 1 ]; then
    limit_to 165
    preset asan unit
else
    # What finds most comes first, for a run with a limit.
    preset asan unit
    preset tsan unit
    lab
    preset fuzz fuzz
    preset clang 'unit|check'
fi
finish

# shellcheck shell=bash
# For test.sh and demo.sh: runs one long step after the other, shows that they go on, keeps their logs and their times.

logs=build/logs
results=$logs/results.tsv
jobs=${CUPULE_JOBS:-$(nproc)}
times=()
deadline=0
stage_pid=

begin() {
    mkdir -p "$logs"
    rm -rf "${logs:?}"/*
    : >"$results"
    trap 'stop_stage; exit 130' INT
    trap 'stop_stage; exit 143' TERM HUP
}

# Every stage is a process group of its own, so that nothing of it stays.
stop_stage() {
    [ -z "$stage_pid" ] || kill -TERM -- "-$stage_pid" 2>/dev/null
    wait
}

# watch LOG: until the stage ends, what it printed (when `live` is set) or its last line now and then.
watch() {
    local shown=0 last=0 now line start=$SECONDS
    while kill -0 "$stage_pid" 2>/dev/null; do
        sleep 0.3
        if [ -n "${live:-}" ]; then
            now=$(wc -l <"$1")
            [ "$now" -le "$shown" ] || sed -n "$((shown + 1)),${now}s/^/   /p" "$1"
            shown=$now
        elif [ $((SECONDS - start - last)) -ge 15 ]; then
            last=$((SECONDS - start))
            line=$(tail -n 1 "$1")
            printf '   %3d s  %.100s\n' "$last" "$line"
        fi
    done
    [ -z "${live:-}" ] || sed -n "$((shown + 1)),\$s/^/   /p" "$1"
}

# run NAME COMMAND...: the stage itself; its status. 124 when the time that limit_to gave is over.
run() {
    local name=$1 log start=$SECONDS status=0 limit=()
    shift
    log=$logs/${name//[^a-z0-9]/_}.log
    [ "$deadline" = 0 ] || limit=(timeout -k 5 $((deadline > SECONDS ? deadline - SECONDS : 1)))
    printf '== %s\n' "$name"
    : >"$log"
    setsid "${limit[@]}" "$@" </dev/null >"$log" 2>&1 &
    stage_pid=$!
    watch "$log"
    wait "$stage_pid" || status=$?
    stage_pid=
    times+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
    if [ "$status" != 0 ] && { [ "$deadline" = 0 ] || [ "$status" != 124 ]; }; then
        printf '   failed with status %s; the end of %s:\n' "$status" "$log"
        tail -n 40 "$log" | sed 's/^/   | /'
    fi
    return "$status"
}

result() { printf '%s\t%s\t%s\n' "$1" "$2" "${3:-}" >>"$results"; }

# stage NAME COMMAND...: a step that only counts when it fails.
stage() {
    local status=0
    run "$@" || status=$?
    [ "$status" = 0 ] || lost "$1" "$status"
}

# lost NAME STATUS: a stage that did not come to its end.
lost() {
    if [ "$deadline" != 0 ] && [ "$2" = 124 ]; then
        result skip "$1" "the run's limit left no time for it; one without a limit has it"
    else
        result fail "$1" "status $2, see build/logs"
    fi
    return 1
}

# limit_to S: what follows has to end before the run is S seconds old.
limit_to() { deadline=$1; }

# ctest_stage NAME PRESET LABELS PATTERN: runs the tests of a build and counts their cases.
ctest_stage() {
    local name=$1 preset=$2 labels=$3 pattern=$4 status=0 dir=$PWD/$logs/$2
    mkdir -p "$dir/gtest"
    GTEST_OUTPUT="xml:$dir/gtest/" run "$name" ctest --test-dir "build/$preset" -j "$jobs" -L "$labels" \
        -R "${pattern:-.}" --output-on-failure --no-tests=ignore --output-junit "$dir/junit.xml" || status=$?
    if [ "$status" = 124 ] || [ ! -e "$dir/junit.xml" ]; then
        lost "$name" "$status"
        return
    fi
    tools/tests/collect ctest "$preset" "$dir" "$results"
}

# lab_stage NAME PATTERN: runs the tests of tests/lab.
lab_stage() {
    local status=0
    # Emulation shares the machine with whatever else runs on it: a limit is for what hangs, not for what is slow.
    export CUPULE_TIMEOUT_SCALE=${CUPULE_TIMEOUT_SCALE:-2}
    live=1 run "$1" tools/lab/run_tests "$logs/lab" "lab/.*$2" || status=$?
    cat "$logs"/lab/results.tsv >>"$results" 2>/dev/null
    [ "$status" = 0 ] || lost "$1" "$status"
}

finish() {
    local status=0
    printf '== times\n'
    printf '   %s\n' "${times[@]}" "$(printf '%5d s  all' "$SECONDS")"
    printf '== results (logs: %s)\n' "$logs"
    tools/tests/collect summary "$results" || status=$?
    exit "$status"
}

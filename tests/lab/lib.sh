# shellcheck shell=bash
# For the scripts of tests/lab: cases are counted by lines "ok - NAME", "not ok - NAME", "ok - NAME # SKIP WHY".
set -u
failures=0
scratch=$(mktemp -d)
trap clean_up EXIT

# The next test shares this machine: a tap that stays would keep its route.
clean_up() {
    local tap
    for tap in /sys/class/net/cuptap*; do
        [ ! -e "$tap" ] || ip link delete "${tap##*/}"
    done
    rm -rf "$scratch"
}

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

scale=${CUPULE_TIMEOUT_SCALE:-1}

# linux SECONDS NAME KERNEL INITRD APPEND OPTION...: a Linux guest until its end. Its console goes to $scratch/NAME,
# cupule's own lines to $scratch/NAME.err; the status is cupule's.
linux() {
    local limit=$1 name=$2 kernel=$3 initrd=$4 append=$5
    shift 5
    timeout -k 5 $((limit * scale)) "$CUPULE" run -m 256M -k "$kernel" -r "$initrd" \
        -B "console=ttyS0 quiet panic=-1 $append" -s 0:0,hostbridge -s 1:0,lpc -l com1,stdio "$@" "$name" \
        <"/dev/null" >"$scratch/$name" 2>"$scratch/$name.err"
}

# start_linux: the same in the background, without a limit; $vm is its process.
start_linux() {
    local name=$1 kernel=$2 initrd=$3 append=$4
    shift 4
    : >"$scratch/$name"
    "$CUPULE" run -m 256M -k "$kernel" -r "$initrd" -B "console=ttyS0 quiet panic=-1 $append" \
        -s 0:0,hostbridge -s 1:0,lpc -l com1,stdio "$@" "$name" \
        <"/dev/null" >"$scratch/$name" 2>"$scratch/$name.err" &
    vm=$!
}

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1 * scale))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "in vain: $*" && return 1; }
        sleep 0.1
    done
}

# status_of PID SECONDS: waits for a child of this shell; its status in $status, 124 when it had to be killed.
status_of() {
    local end=$((SECONDS + $2 * scale))
    while kill -0 "$1" 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.05; done
    if kill -9 "$1" 2>/dev/null; then
        wait "$1" 2>/dev/null
        status=124
        return
    fi
    wait "$1"
    status=$?
}

# shown NAME: what a failed case should show of a guest.
shown() { tail -n 15 "$scratch/$1" "$scratch/$1.err" && false; }

# word FILE NAME: what stands behind it on its last line.
word() { sed -n "s/^$2 //p" "$1" | tr -d '\r' | tail -n 1; }
# agree FILE NAME FILE NAME: the same word stands behind both, and one does.
agree() { [ -n "$(word "$1" "$2")" ] && same "$(word "$1" "$2")" "$(word "$3" "$4")"; }
# says NAME PATTERN: of a guest.
says() { grep -aqE "$2" "$scratch/$1" || shown "$1"; }
# ends PID SECONDS FILE: a guest in the background ends well in that time.
ends() {
    status_of "$1" "$2"
    same 0 "$status" || shown "$3"
}

# ended NAME STATUS: the guest's run ended well; if not, the end of its output tells how far it came.
ended() { same 0 "$2" || shown "$1"; }

# stands_still NAME: while the guest, in the background with --stats 1, does the work between its lines "steady" and
# "steady: ...", nothing goes through cupule for three seconds without a pause: no exits, trapped accesses, interrupts.
# (What a guest's kernel writes to its console now and then, and the two lines themselves, are exits of another making.)
stands_still() {
    until_true 200 grep -aq '^steady' "$scratch/$1" || shown "$1" || return
    local from to
    from=$(wc -l <"$scratch/$1.err")
    until_true 60 grep -aq '^steady:' "$scratch/$1" || shown "$1" || return
    to=$(wc -l <"$scratch/$1.err")
    sed -n "$((from + 1)),${to}p" "$scratch/$1.err" | tee "$scratch/span" | awk '
        match($0, /[0-9]+ exits to cupule/) { now = substr($0, RSTART, RLENGTH) }
        match($0, /trapped accesses [0-9]+, interrupts [0-9]+/) {
            now = now ", " substr($0, RSTART, RLENGTH)
            all = all " [" now "]"
            still = now == before ? still + 1 : 0
            longest = still > longest ? still : longest
            before = now
        }
        END {
            print "still for " longest + 0 " s:" all
            exit longest < 3
        }' || { cat "$scratch/span" && false; }
}

finish() { exit $((failures > 0)); }

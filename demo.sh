#!/usr/bin/env bash
# Boots an unmodified Debian kernel as a guest of Cupule, with a disk, a network and a shared directory, and shows what
# the guest sees; then, on a terminal, gives a shell in the guest (exit ends it). It installs, builds and fetches what is missing first.
#   ./demo.sh [--cpus N] [--lab|--direct]
#   ./demo.sh passthrough     always in the lab: an e1000e card behind VT-d goes to the guest, which moves data with it
# KVM is used directly where `cupule probe` finds it usable, else the same runs in the lab, which emulates a machine
# that has it (docs/lab.md). --lab and --direct choose by hand.
set -euo pipefail
cd "$(dirname "$0")"
. tools/tests/stages.sh

cpus=1
where=
what=guest
while [ $# -gt 0 ]; do
    case $1 in
        --cpus) cpus=${2:?--cpus needs a number} && shift ;;
        passthrough) what=passthrough ;;
        --lab) where=lab ;;
        --direct) where=direct ;;
        -h | --help) sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0" && exit 0 ;;
        *) echo "demo.sh: unknown argument '$1' (try --help)" >&2 && exit 64 ;;
    esac
    shift
done

# step NAME COMMAND...: one that the demo cannot do without.
step() { run "$@" || exit 1; }

kvm_usable() {
    "$cupule" probe --json 2>/dev/null | python3 -c '
import json, sys
capabilities = {c["name"]: c["available"] for c in json.load(sys.stdin)["capabilities"]}
sys.exit(not capabilities["kvm-usable"])' 2>/dev/null
}

# passthrough: the card's other end is a web server here, which the lab's user network reaches at its gateway.
passthrough() {
    local share server port sum
    share=$(mktemp -d)
    head -c 8388608 /dev/urandom >"$share/data"
    python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$share" >"$share/log" 2>&1 &
    server=$!
    # shellcheck disable=SC2064 # the values of now
    trap "kill $server; rm -rf '$share'" EXIT
    for _ in $(seq 100); do
        port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$share/log")
        [ -z "$port" ] || break
        sleep 0.1
    done
    echo "== in the lab, a machine with VT-d and an e1000e card: about 40 s"
    tools/lab/lab --timeout 300 --nic e1000e -- tools/lab/demo_passthrough "$cupule" \
        "$(tools/lab/kernels generic)/vmlinux" "$(tools/lab/initramfs guest-generic)" "$port" | tee "$share/shown"
    sum=$(sha256sum "$share/data" | cut -c 1-64)
    grep -q "^$sum" "$share/shown" || { echo "demo.sh: the guest did not receive $sum" >&2 && exit 1; }
    echo "== which is what the web server here sent"
    exit 0
}

# The stages are quiet: they are not what is shown here.
# shellcheck disable=SC2034 # what stages.sh writes its logs to
logs=build/logs/demo
begin
step install tools/install-deps build lab
cupule=${CUPULE:-$PWD/build/release/cupule}
if [ -z "${CUPULE:-}" ]; then
    step "configure" cmake --preset release
    step "build" cmake --build --preset release -j "$jobs" --target cupule
fi
step "kernels" tools/lab/kernels
if [ "$what" = passthrough ]; then
    step "initramfs" tools/lab/initramfs guest-generic
    passthrough
fi
step "initramfs" tools/lab/initramfs guest-cloud
kernel=$(tools/lab/kernels cloud)/vmlinux
initrd=$(tools/lab/initramfs guest-cloud)

if [ -z "$where" ]; then
    if kvm_usable; then where=direct; else where=lab; fi
fi
terminal=0
[ ! -t 0 ] || [ ! -t 1 ] || terminal=1
end=poweroff
[ "$terminal" = 0 ] || end=shell
guest=(tools/lab/demo_guest "$cupule" "$kernel" "$initrd" "$cpus" "$end")

trap - INT TERM HUP
[ "$where" = direct ] || echo "== in the lab, because KVM is not usable here: about 25 s"
[ "$terminal" = 0 ] || echo "== exit ends the guest's shell, Ctrl-a x the virtual machine"
case $where$terminal in
    direct*) exec "${guest[@]}" ;;
    lab1) exec tools/lab/lab --interactive -- "${guest[@]}" ;;
    lab0) exec tools/lab/lab --timeout 300 -- "${guest[@]}" ;;
esac

#!/usr/bin/env bash
# Boots an unmodified Debian kernel as a guest of Cupule and shows what the guest sees; then, on a terminal, gives a
# shell in the guest (exit ends it). It installs, builds and fetches what is missing first.
#   ./demo.sh [--cpus N] [--lab|--direct]
# KVM is used directly where `cupule probe` finds it usable, else the same runs in the lab, which emulates a machine
# that has it (docs/lab.md). --lab and --direct choose by hand.
set -euo pipefail
cd "$(dirname "$0")"
. tools/tests/stages.sh

cpus=1
where=
while [ $# -gt 0 ]; do
    case $1 in
        --cpus) cpus=${2:?--cpus needs a number} && shift ;;
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

# The stages are quiet: they are not what is shown here.
logs=build/logs/demo
begin
step install tools/install-deps build lab
cupule=${CUPULE:-$PWD/build/release/cupule}
if [ -z "${CUPULE:-}" ]; then
    step "configure" cmake --preset release
    step "build" cmake --build --preset release -j "$jobs" --target cupule
fi
step "kernels" tools/lab/kernels
step "initramfs" tools/lab/initramfs guest-tools
kernel=$(tools/lab/kernels cloud)/vmlinux
initrd=$(tools/lab/initramfs guest-tools)

if [ -z "$where" ]; then
    if kvm_usable; then where=direct; else where=lab; fi
fi
terminal=0
[ ! -t 0 ] || [ ! -t 1 ] || terminal=1
end=poweroff
[ "$terminal" = 0 ] || end=shell
# shellcheck disable=SC2054 # the commas belong to the words
guest=("$cupule" run -m 512M --cpus "$cpus" -k "$kernel" -r "$initrd"
    -B "console=ttyS0 quiet cupule.run=demo cupule.end=$end"
    -s 0:0,hostbridge -s 1:0,lpc -l com1,stdio demo)

trap - INT TERM HUP
echo "== ${guest[*]}"
[ "$where" = direct ] || echo "== in the lab, because KVM is not usable here: about 20 s"
[ "$terminal" = 0 ] || echo "== exit ends the guest's shell, Ctrl-a x the virtual machine"
case $where$terminal in
    direct1) exec "${guest[@]}" ;;
    direct0) exec "${guest[@]}" </dev/null ;;
    lab1) exec tools/lab/lab --interactive -- "${guest[@]}" ;;
    lab0) exec tools/lab/lab --timeout 300 -- "${guest[@]}" ;;
esac

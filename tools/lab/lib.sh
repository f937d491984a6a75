# shellcheck shell=bash
# Shared by the scripts of tools/lab: where the cache is, how an error is told, who may build at a time.

# depmod, modprobe and insmod live where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

# shellcheck disable=SC2034 # for the scripts that read this
repo_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache_dir=${CUPULE_CACHE:-$HOME/.cache/cupule}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

note() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# need COMMAND PACKAGE: ends with the mend when COMMAND is missing.
need() {
    command -v "$1" >/dev/null || die "the command '$1' is missing: run tools/install-deps (package $2)"
}

# lock NAME: one builder at a time; held until the script ends.
lock() {
    mkdir -p "$cache_dir" || die "cannot make the cache directory $cache_dir: set CUPULE_CACHE to a writable one"
    exec 9>"$cache_dir/$1.lock"
    flock -n 9 || { note "another one is building ($1), waiting"; flock 9; }
}

#!/usr/bin/env python3
"""config_differences.py HOST GUEST: two dumps of a configuration space in base64, HOST alone in its file, GUEST behind
"config=" on a line. Every byte of the guest's must be the host's, or belong to a register that docs/passthrough.md says
is emulated, stored or hidden."""
import base64
import re
import sys

STANDARD_SHOWN = {0x01, 0x03, 0x05, 0x09, 0x10, 0x11, 0x13}
EXTENDED_SHOWN = {0x0001, 0x0003, 0x000B, 0x0018, 0x0023}


def word(config, at):
    return config[at] | config[at + 1] << 8


def standard_capabilities(config):
    """(id, offset, end) in the order of their offsets."""
    found, at = [], config[0x34] & 0xFC
    while at >= 0x40 and at not in [offset for _, offset in found]:
        found.append((config[at], at))
        at = config[at + 1] & 0xFC
    return with_ends(sorted(found, key=lambda one: one[1]), 0x100)


def extended_capabilities(config):
    found, at = [], 0x100
    while at >= 0x100 and at not in [offset for _, offset in found] and any(config[at : at + 4]):
        found.append((word(config, at), at))
        at = word(config, at + 2) >> 4 & 0xFFC
    return with_ends(sorted(found, key=lambda one: one[1]), 0x1000)


def with_ends(found, end):
    ends = [offset for _, offset in found[1:]] + [end]
    return [(number, offset, after) for (number, offset), after in zip(found, ends)]


def own_bytes(config):
    """What of the guest's configuration space need not be the host's, by the register's name."""
    own = {
        "command": range(0x04, 0x06), "status": range(0x06, 0x08), "cache line, latency": range(0x0C, 0x0E),
        "several functions": range(0x0E, 0x10), "BARs": range(0x10, 0x28), "ROM": range(0x30, 0x34),
        "capability pointer": range(0x34, 0x35), "interrupt line and pin": range(0x3C, 0x3E),
    }  # fmt: skip
    for number, offset, end in standard_capabilities(config):
        name = f"capability {number:#04x}"
        if number not in STANDARD_SHOWN:
            own[name] = range(offset, end)
            continue
        own[f"{name} next"] = range(offset + 1, offset + 2)
        if number in (0x01, 0x05):
            own[name] = range(offset + 2, end)
        elif number == 0x11:
            own[name] = range(offset + 2, offset + 4)
        elif number == 0x10:
            for control in (0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38):
                own[f"{name} {control:#x}"] = range(offset + control, offset + control + 4)
    for number, offset, end in extended_capabilities(config) if len(config) > 256 else []:
        name = f"extended capability {number:#06x}"
        own[name] = range(offset + 2, offset + 4)
        if number not in EXTENDED_SHOWN or number in (0x0001, 0x0018):
            own[name] = range(offset, end)
    return own


def main(host_path, guest_path):
    with open(host_path, encoding="ascii") as file:
        host = base64.b64decode(file.read())
    with open(guest_path, encoding="utf-8", errors="replace") as file:
        guest = base64.b64decode(re.search(r"config=([A-Za-z0-9+/=]+)", file.read()).group(1))
    if len(host) != len(guest) or host[:4] != guest[:4]:
        print(f"other devices: {len(host)} and {len(guest)} bytes, {host[:4].hex()} and {guest[:4].hex()}")
        return 1
    own = own_bytes(host)
    wrong = 0
    for at in range(len(host)):
        if host[at] != guest[at] and not any(at in place for place in own.values()):
            print(f"{at:#05x}: the host has {host[at]:02x}, the guest {guest[at]:02x}")
            wrong += 1
    used = [name for name, place in own.items() if any(host[at] != guest[at] for at in place if at < len(host))]
    print(f"{len(host)} bytes, {wrong} differ that should not; different as documented: {', '.join(used)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

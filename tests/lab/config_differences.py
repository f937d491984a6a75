#!/usr/bin/env python3
"""config_differences.py HOST GUEST [SHOWN...]: two dumps of a configuration space in base64, HOST alone in its file, GUEST
gzipped behind "config=" on a line. The table of docs/passthrough.md says what the guest may see of it: each of its rows
must have its place here and the other way round, and what no row shows must read zero. SHOWN are rows that are hidden but
for an option."""
import base64
import gzip
import os
import re
import sys

TABLE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../docs/passthrough.md")

IDS = "ids, revision, class, subsystem, MIN_GNT, MAX_LAT"
POWER = "power management"
MESSAGES = "MSI, MSI-X"
OWN = "VPD, vendor-specific (both kinds), DVSEC"
CAPABILITIES = "PCI Express: device and link capabilities"
CONTROLS = "PCI Express: device control, link control, and their second forms"
FLR = "PCI Express: initiate FLR; AF: FLR"
DEVICE_STATUS = "PCI Express: device status"
OTHER_STATUS = "PCI Express: link status, second status registers"
ERRORS = "advanced error reporting"
SERIAL = "device serial number"
LATENCY = "latency tolerance reporting"
TIME = "precision time measurement"
REST = "SR-IOV, ATS, PRI, PASID, ACS, ARI, resizable BARs, L1 substates, virtual channels, all else"

# Row, offset, bytes, and where not all of them the bits that it speaks of. FORM: the host's also where the rest of the
# register is emulated or stored.
FORM = "the form of "
HEADER = (
    (IDS, 0x00, 4), (IDS, 0x08, 4), (IDS, 0x2C, 4), (IDS, 0x3E, 2),
    ("command: memory and I/O decoding", 0x04, 2, 0x0003), ("command: bus mastering, INTx disable", 0x04, 2, 0x0404),
    ("command: parity, SERR", 0x04, 2, 0x0140), ("status: interrupt", 0x06, 2, 0x0008), ("status: the rest", 0x06, 2, 0xFFF7),
    ("cache line size", 0x0C, 1),
    ("header type: several functions", 0x0E, 1, 0x80), ("BARs, expansion ROM", 0x10, 24),
    ("BARs, expansion ROM", 0x30, 4), ("interrupt pin and line", 0x3C, 2),
)  # fmt: skip
STANDARD = {
    0x01: ((FORM + POWER, 2, 2, 0x0027), (POWER, 4, 2, 0x0003), (FORM + POWER, 4, 2, 0x0008)),
    0x03: ((OWN, 2, 6),),
    0x05: ((FORM + MESSAGES, 2, 2, 0x018E), (MESSAGES, 2, 2, 0x0071), (MESSAGES, 4, 0)),
    0x09: ((OWN, 2, 0),),
    0x10: ((CAPABILITIES, 2, 6), (CONTROLS, 8, 2, 0x7FFF), (DEVICE_STATUS, 10, 2), (CAPABILITIES, 12, 4),
           (CONTROLS, 16, 2, 0x0FFB), (OTHER_STATUS, 18, 2), (CAPABILITIES, 0x24, 4), (CONTROLS, 0x28, 2),
           (OTHER_STATUS, 0x2A, 2), (CAPABILITIES, 0x2C, 4), (CONTROLS, 0x30, 2), (OTHER_STATUS, 0x32, 2)),
    0x11: ((FORM + MESSAGES, 2, 2, 0x07FF), (MESSAGES, 2, 2, 0xC000), (FORM + MESSAGES, 4, 8)),
    0x13: ((FORM + FLR, 2, 2), (OTHER_STATUS, 5, 1, 0x01)),
}  # fmt: skip
EXTENDED = {
    0x0001: ((ERRORS, 0x08, 8), (ERRORS, 0x14, 4), (ERRORS, 0x18, 4, 0x0140), (FORM + ERRORS, 0x18, 4, 0xFFFFFEA0)),
    0x0003: ((SERIAL, 4, 8),),
    0x000B: ((OWN, 4, 0),),
    0x0018: ((LATENCY, 4, 4, 0x1FFF1FFF),),
    0x001F: ((FORM + TIME, 4, 4), (TIME, 8, 4, 0xFF03)),
    0x0023: ((OWN, 4, 0),),
}
SAME = {"fixed", "live", "live, error bits passed", "passed"}
FREE = {"emulated", "emulated and passed", "stored", "status and logs read zero, masks stored",
        "hidden; with `enable_ptm` enable and granularity passed, the rest fixed"}  # fmt: skip


def number(config, at, size):
    return int.from_bytes(config[at : at + size], "little")


def documented():
    """Row and treatment, of the table whose first column is "register"."""
    with open(TABLE, encoding="utf-8") as file:
        lines = re.search(r"^\| register \|.*\n\|[-| ]*\n((?:\|.*\n)+)", file.read(), re.MULTILINE).group(1).splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row: treatment for _, row, treatment, *_ in cells}


def unlike(rows):
    """How the docs' table and this file differ."""
    tables = [HEADER, *STANDARD.values(), *EXTENDED.values()]
    here = {place[0].removeprefix(FORM) for table in tables for place in table} | {REST}
    wrong = [f"docs/passthrough.md has a row that is not checked: {row}" for row in rows if row not in here]
    wrong += [f"docs/passthrough.md has no row: {row}" for row in here if row not in rows]
    wrong += [f"{row}: how is '{how}' checked?" for row, how in rows.items() if how not in SAME | FREE | {"hidden"}]
    return wrong


def capabilities(config):
    """{(extended, id, offset)}: what a driver finds by the two lists."""
    found, at = [], config[0x34] & 0xFC if config[0x06] & 0x10 else 0
    while at >= 0x40 and (False, config[at], at) not in found:
        found.append((False, config[at], at))
        at = config[at + 1] & 0xFC
    at = 0x100 if len(config) > 0x100 else 0
    while at >= 0x100 and (True, number(config, at, 2), at) not in found and number(config, at, 4):
        found.append((True, number(config, at, 2), at))
        at = number(config, at + 2, 2) >> 4 & 0xFFC
    return set(found)


def length(config, extended, capability, at):
    """Where the capability says it itself, or has several forms."""
    if capability == 0x05 and not extended:
        control = number(config, at + 2, 2)
        return 10 + (4 if control & 0x80 else 0) + (10 if control & 0x100 else 0)
    if capability == 0x09 and not extended:
        return config[at + 2]
    if capability == 0x10 and not extended:
        return 0x3C if config[at + 2] & 0xF >= 2 else 0x14
    return number(config, at + 4, 4) >> 20 if capability in (0x000B, 0x0023) and extended else 0x1000


class Expected:
    """For each bit of the guest's configuration space: the host's (`same`), the guest's own (`free`), or zero."""

    def __init__(self, size, rows, shown):
        self.rows = {row: "emulated" if row in shown else how for row, how in rows.items()}
        self.same = bytearray(size)
        self.free = bytearray(size)

    def shows(self, table):
        return all(self.rows[place[0].removeprefix(FORM)].split(";")[0] != "hidden" for place in table)

    def put(self, table, at=0, limit=0x1000):
        for row, offset, size, *mask in table:
            size = size or limit - offset
            bits = mask[0] if mask else (1 << 8 * size) - 1
            is_same = row.startswith(FORM) or self.rows[row] in SAME
            for i in range(size if offset + size <= limit else 0):
                (self.same if is_same else self.free)[at + offset + i] |= bits >> 8 * i & 0xFF


def compare(host, guest, rows, shown):
    expected = Expected(len(host), rows, shown)
    expected.put(HEADER)
    at = 0x10
    # A virtual function has zeros there.
    while at < 0x28 and any(host[0x10:0x28]):
        kind = 0x03 if host[at] & 1 else 0x0F
        expected.same[at] |= kind
        expected.free[at] &= ~kind & 0xFF
        at += 8 if host[at] & 7 == 4 else 4
    wanted = set()
    for extended, capability, at in capabilities(host):
        table = (EXTENDED if extended else STANDARD).get(capability)
        if table and expected.shows(table):
            wanted.add((extended, capability, at))
            expected.put(table, at, length(host, extended, capability, at))
        elif at == 0x100:
            wanted.add((True, 0, at))
    for extended, capability, at in wanted:
        header = at + 2 if extended else at
        expected.same[at] = 0xFF
        if extended and capability:
            expected.same[at : at + 3] = b"\xff\xff\x0f"
        # Where the list goes on is compared as the list.
        for i in range(header + (0 if extended else 1), header + 2):
            expected.free[i] |= 0xF0 if extended and i == header else 0xFF
    if (True, 0, 0x100) in wanted:
        expected.same[0x100:0x104] = bytes(4)
    expected.free[0x34] = 0xFF
    # An empty one keeps the place of a first that is hidden, where others follow it.
    place = {(True, 0, 0x100)}
    wrong = [f"a capability {what}: {'extended ' if extended else ''}{capability:#06x} at {at:#x}" for what, found in
             (("that is not shown", capabilities(guest) - wanted - place), ("is missing", wanted - capabilities(guest) - place))
             for extended, capability, at in sorted(found)]  # fmt: skip
    for at, (ours, theirs) in enumerate(zip(guest, host)):
        want = theirs & expected.same[at]
        if (ours & ~expected.free[at]) != (want & ~expected.free[at]):
            wrong.append(f"{at:#05x}: the guest has {ours:02x}, which should be {want:02x} but for {expected.free[at]:02x}")
    return wrong


def main(host_path, guest_path, *shown):
    with open(host_path, encoding="ascii") as file:
        host = base64.b64decode(file.read())
    with open(guest_path, encoding="utf-8", errors="replace") as file:
        guest = gzip.decompress(base64.b64decode(re.search(r"config=([A-Za-z0-9+/=]+)", file.read()).group(1)))
    rows = documented()
    wrong = unlike(rows)
    if len(host) != len(guest):
        wrong.append(f"{len(host)} bytes of the host's, {len(guest)} of the guest's")
    wrong = wrong or compare(host, guest, rows, shown)
    names = sorted(f"{capability:#04x}" + (" (extended)" if extended else "") for extended, capability, _ in capabilities(guest))
    print("\n".join(wrong + [f"{len(guest)} bytes, {len(rows)} rows, {len(wrong)} faults; capabilities {', '.join(names)}"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

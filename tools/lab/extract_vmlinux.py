#!/usr/bin/env python3
"""Takes the ELF vmlinux out of a bzImage: extract_vmlinux.py BZIMAGE VMLINUX

The setup header says where the compressed kernel lies (Linux boot protocol 2.08 and later,
Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length)."""
import os
import struct
import subprocess
import sys

# First bytes of the payload, the program that unpacks it, and how many bytes the kernel's build appended to the
# stream (the unpacked size, for the formats that do not carry it themselves).
FORMATS = (
    (b"\x02\x21\x4c\x18", ["lz4", "-d", "-c"], 4),
    (b"\xfd7zXZ\x00", ["xz", "-d", "-c"], 4),
    (b"\x28\xb5\x2f\xfd", ["zstd", "-d", "-c", "-q"], 4),
    (b"\x1f\x8b", ["gzip", "-d", "-c"], 0),
)


def payload(image):
    if len(image) < 0x250 or image[0x202:0x206] != b"HdrS":
        raise ValueError("it has no Linux setup header (HdrS)")
    (version,) = struct.unpack_from("<H", image, 0x206)
    if version < 0x208:
        raise ValueError(f"boot protocol {version:#x} does not tell where the kernel lies (0x208 does)")
    setup_sects = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sects + 1) * 512 + offset
    if length == 0 or start + length > len(image):
        raise ValueError(f"its payload ({length} bytes at {start}) ends outside the file of {len(image)} bytes")
    return image[start : start + length]


def unpack(data):
    for magic, command, appended in FORMATS:
        if data.startswith(magic):
            stream = data[: len(data) - appended]
            elf = subprocess.run(command, input=stream, stdout=subprocess.PIPE, check=True).stdout
            if not elf.startswith(b"\x7fELF"):
                raise ValueError("its payload is not an ELF file")
            return elf
    raise ValueError(f"its payload begins with {data[:6].hex(' ')}: none of lz4, xz, zstd, gzip")


def main():
    source, target = sys.argv[1:3]
    try:
        with open(source, "rb") as file:
            elf = unpack(payload(file.read()))
        with open(target + ".part", "wb") as file:
            file.write(elf)
        os.replace(target + ".part", target)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"extract_vmlinux: {source}: {error}")


if __name__ == "__main__":
    main()

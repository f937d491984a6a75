#!/usr/bin/env python3
"""net_flows.py FROM TO KEY QUEUE: sends UDP flows to TO whose hash names QUEUE (0 or 1; more: of both), then connects to its
port 7000. The hash is virtio's (Virtio 1.3, 5.1.6.4.3) with KEY, its lowest bit the queue. Says how many it sent."""
import socket
import struct
import sys
import time

FLOWS = 10
FRAMES_A_FLOW = 20


def toeplitz(key: bytes, data: bytes) -> int:
    bits = int.from_bytes(key, "big")
    length = 8 * len(key)
    result = 0
    for index in range(8 * len(data)):
        if data[index // 8] >> (7 - index % 8) & 1:
            result ^= bits >> (length - 32 - index) & 0xFFFFFFFF
    return result


def connect(address: str) -> None:
    for _ in range(300):
        try:
            socket.create_connection((address, 7000), timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("nobody listens")


def main() -> None:
    source, target, key_text, queue = sys.argv[1:]
    key = bytes.fromhex(key_text.replace(":", ""))
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    chosen = []
    for port in range(20000, 21000):
        hashed = toeplitz(key, addresses + struct.pack(">HH", port, 9))
        if int(queue) > 1 or hashed & 1 == int(queue):
            chosen.append(port)
    sent = 0
    for port in chosen[:FLOWS]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.bind((source, port))
            for _ in range(FRAMES_A_FLOW):
                flow.sendto(b"flow", (target, 9))
                sent += 1
                time.sleep(0.002)
    connect(target)
    print("sent", sent)


main()

#!/usr/bin/env python3
"""The host's end of tests/lab/guest/net: net_peer.py ADDRESS KIB [FORWARD]

Gives KIB random KiB at port 5001 and takes what comes to port 5002; with FORWARD it also exchanges them with whoever listens
at that port of 127.0.0.1. Says the checksums of all that went and came.
"""
import hashlib, os, socket, sys, threading, time

address, kib = sys.argv[1], int(sys.argv[2])
forward = int(sys.argv[3]) if len(sys.argv) > 3 else 0
data = os.urandom(kib * 1024)

def say(word, payload):
    print(word, hashlib.md5(payload).hexdigest(), flush=True)

def read_all(connection):
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)

def listen(port, serve):
    server = socket.create_server((address, port))
    def loop():
        while True:
            connection = server.accept()[0]
            with connection:
                serve(connection)
    threading.Thread(target=loop, daemon=True).start()

def give(connection):
    start = time.monotonic()
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
    print(f"rate out {len(data) / 1e6 / (time.monotonic() - start):.1f} MB/s", flush=True)

def take(connection):
    start = time.monotonic()
    came = read_all(connection)
    say("got", came)
    print(f"rate in {len(came) / 1e6 / (time.monotonic() - start):.1f} MB/s", flush=True)

say("sent", data)
listen(5001, give)
listen(5002, take)
while forward:
    time.sleep(0.5)
    try:
        with socket.create_connection(("127.0.0.1", forward)) as connection:
            # busybox's nc ends when we do, so we end when it has sent all.
            sender = threading.Thread(target=connection.sendall, args=(data,))
            sender.start()
            came = read_all(connection)
            sender.join()
    except OSError:
        continue
    if came:
        say("forward", came)
        forward = 0
time.sleep(1000)

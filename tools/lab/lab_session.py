"""Jobs on a running Service VM: the agent's protocol, output streams, time limits and the lab's own faults."""
import re
import selectors
import time

# Lines of the Service VM's kernel log that say that the lab itself has failed (see docs/lab.md).
FAULT_LINES = re.compile(
    r"watchdog: BUG: soft lockup.*|Watchdog detected hard LOCKUP.*"
    r"|rcu: INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stalls?.*"
    r"|INFO: task .* blocked for more than \d+ seconds.*|lab-init: .*(?:does not mount|ended).*"
)
HEARTBEAT_LIMIT_S = 90
# QEMU 7.2 loses an interrupt of its emulated processor now and then: it stays pending until another one comes (docs/lab.md).
KICK_PERIOD_S = 0.25
KILL_GRACE_S = 20
STATUS_TIMEOUT = 124
STATUS_LAB = 125


class LabFault(Exception):
    """The Service VM failed by itself; the job may be started once more."""


class VmEnded(Exception):
    """QEMU ended while it was needed."""

    def __init__(self, status, console):
        tail = "\n".join("    " + line for line in console.splitlines()[-15:])
        super().__init__(f"the Service VM ended (QEMU's status {status}); the end of its log:\n{tail}")


class Job:
    def __init__(self, name, timeout_s, script, sink):
        self.name = name
        self.timeout_s = timeout_s
        self.script = script  # what /bin/sh runs inside
        self.sink = sink  # sink(stream name, bytes)
        self.status = None
        self.starts = 0
        self.seconds = 0.0


class Stream:
    """Passes bytes on until the end mark. What could be the beginning of the mark waits."""

    def __init__(self, mark):
        self.mark = b"\0lab-end " + mark.encode() + b"\0"
        self.held = b""
        self.ended = False

    def feed(self, data):
        data = self.held + data
        at = data.find(self.mark)
        if at >= 0:
            self.ended = True
            self.held = data[at + len(self.mark) :]
            return data[:at]
        keep = data.rfind(b"\0", max(0, len(data) - len(self.mark) + 1))
        if keep >= 0 and self.mark.startswith(data[keep:]):
            self.held = data[keep:]
            return data[:keep]
        self.held = b""
        return data


class Session:
    """Runs jobs one after the other on a started Vm."""

    def __init__(self, vm, terminal, boot_timeout_s):
        self.vm = vm
        self.terminal = terminal
        self.boot_timeout_s = boot_timeout_s
        self.lines = b""
        self.events = []
        self.streams = {}
        self.sink = lambda name, data: None
        self.booted = False
        self.last_beat = 0.0
        self.last_kick = 0.0
        self.console_read = 0.0
        self.selector = selectors.DefaultSelector()
        for name, channel in vm.channels.items():
            if name == "monitor":
                continue
            channel.setblocking(True)
            self.selector.register(channel, selectors.EVENT_READ, name)
        if terminal:
            self.selector.register(terminal.input_fd, selectors.EVENT_READ, "input")

    def close(self):
        self.selector.close()

    def boot(self):
        deadline = time.monotonic() + self.boot_timeout_s
        while "ready" not in self.events:
            self.turn()
            if time.monotonic() > deadline:
                raise LabFault(f"the Service VM did not reach its agent in {self.boot_timeout_s} s")
        self.booted = True
        self.events.clear()

    def run(self, number, job):
        """Fills job.status. LabFault when the Service VM fails; a job that ends the Service VM has failed itself."""
        names = ["terminal", "stdout", "stderr"] if self.terminal else ["stdout", "stderr"]
        self.streams = {name: Stream(self.vm.mark) for name in names}
        self.sink = job.sink
        job.starts += 1
        started = time.monotonic()
        self.vm.send(f"run {number}")
        try:
            job.status = self.wait_end(number, started + job.timeout_s if job.timeout_s else None)
        finally:
            job.seconds = time.monotonic() - started
            self.streams = {}

    def wait_end(self, number, deadline):
        timed_out = False
        status = None
        while status is None or not all(stream.ended for stream in self.streams.values()):
            self.turn()
            for event in self.events:
                words = event.split()
                if words[:2] == ["end", str(number)]:
                    status = int(words[2])
            self.events.clear()
            if deadline is None or time.monotonic() < deadline:
                continue
            if timed_out:
                raise LabFault(f"a job that was to be killed did not end in {KILL_GRACE_S} s")
            if status is None:
                timed_out = True
                self.vm.send(f"kill {number}")
            deadline = time.monotonic() + KILL_GRACE_S
        return STATUS_TIMEOUT if timed_out else status

    def turn(self):
        """Waits for something to happen, at most until the next kick is due, and sees to it."""
        if self.booted and time.monotonic() - self.last_kick > KICK_PERIOD_S:
            self.last_kick = time.monotonic()
            self.vm.kick()
        for key, _ in self.selector.select(KICK_PERIOD_S):
            if key.data == "input":
                self.from_terminal()
                continue
            data = key.fileobj.recv(65536)
            if not data:
                self.selector.unregister(key.fileobj)
            elif key.data == "control":
                self.from_agent(data)
            elif key.data in self.streams:
                data = self.streams[key.data].feed(data)
                if data:
                    self.sink(key.data, data)
        if self.terminal and self.terminal.resized:
            self.terminal.resized = False
            self.vm.send("size %d %d" % self.terminal.size())
        self.check()

    def from_agent(self, data):
        *lines, self.lines = (self.lines + data).split(b"\n")
        for line in lines:
            self.last_beat = time.monotonic()
            asked = re.fullmatch(r"monitor (\d+) (.+)", line.decode(errors="replace"))
            if asked:
                self.vm.answer_monitor(*asked.groups())
            elif line != b"beat":
                self.events.append(line.decode(errors="replace"))

    def from_terminal(self):
        data = self.terminal.read()
        if not data:
            self.selector.unregister(self.terminal.input_fd)
            data = b"\x04"
        self.vm.channels["terminal"].sendall(data)

    def check(self):
        now = time.monotonic()
        if now - self.console_read < 1.0:
            return
        self.console_read = now
        if self.vm.process.poll() is not None:
            raise VmEnded(self.vm.process.returncode, self.vm.console())
        fault = FAULT_LINES.search(self.vm.console())
        if fault:
            raise LabFault(fault.group(0).strip())
        if self.booted and now - self.last_beat > HEARTBEAT_LIMIT_S:
            questions = ("info registers -a", "info lapic", "info pic", "info registers -a")
            state = "\n".join(f"{question}:\n{self.vm.ask(question)}" for question in questions)
            raise LabFault(f"no heartbeat from the Service VM for {HEARTBEAT_LIMIT_S} s\n{state}")

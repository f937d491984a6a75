"""The Service VM as a QEMU process: its command line, its channels, its end."""
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LAB_DIR = os.path.dirname(os.path.realpath(__file__))
# A soft lockup is reported after two of the thresholds, in seconds: on a loaded machine a virtual CPU may wait long
# for a real one.
KERNEL_COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 intel_iommu=on iommu=pt mitigations=off no_timer_check random.trust_cpu=on "
    "watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=60"
)


class LabError(Exception):
    """The lab cannot run as asked: the message names the thing, the value and the mend."""


def tool(name, *arguments):
    """The last line that a script of this directory prints; its progress goes to stderr."""
    result = subprocess.run([os.path.join(LAB_DIR, name), *arguments], stdout=subprocess.PIPE, check=False)
    if result.returncode != 0:
        raise LabError(f"{name} {' '.join(arguments)} failed with status {result.returncode}")
    return result.stdout.decode().splitlines()[-1]


def image_file(path, share):
    """The file of a disk; a size like 64M makes an empty one that goes with the lab."""
    if not re.fullmatch("[0-9]+[KMG]?", path):
        return path
    file = os.path.join(share, f"disk{len(os.listdir(share))}.img")
    subprocess.run(["truncate", "-s", path, file], check=True)
    return file


def sriov_disk(index, share, size):
    """An NVMe controller behind a root port that can have four virtual functions. Namespace 1 (disk{index}) is the
    physical function's alone; namespace 2, of the same size, is for whom `nvme attach-ns` gives it to."""
    second = image_file(str(size), share)
    return [
        "-drive", f"file={second.replace(',', ',,')},if=none,id=second{index},format=raw",
        "-device", f"pcie-root-port,id=port{index},addr={0x8 + index:#x},slot={index},chassis={index}",
        "-device", f"nvme-subsys,id=subsystem{index}",
        "-device", f"nvme,id=nvme{index},serial=lab{index},bus=port{index},subsys=subsystem{index},sriov_max_vfs=4,"
                   "max_ioqpairs=10,sriov_vq_flexible=8,msix_qsize=12,sriov_vi_flexible=8",
        "-device", f"nvme-ns,drive=disk{index},bus=nvme{index},nsid=1,shared=off",
        "-device", f"nvme-ns,drive=second{index},bus=nvme{index},nsid=2,detached=on",
    ]  # fmt: skip


def disk_devices(spec, index, share, iops):
    """nvme:FILE, nvme-sriov:FILE or ahci:FILE; no more than `iops` requests a second where that is not 0."""
    kind, separator, path = spec.partition(":")
    path = image_file(path, share)
    if kind not in ("nvme", "nvme-sriov", "ahci") or not separator:
        raise LabError(f"--disk {spec}: it must be nvme:FILE, nvme-sriov:FILE or ahci:FILE")
    if not os.access(path, os.R_OK | os.W_OK):
        raise LabError(f"--disk {spec}: the file {path} is not there or not writable")
    image_format = "qcow2" if path.endswith(".qcow2") else "raw"
    limit = f",throttling.iops-total={iops}" if iops else ""
    drive = ["-drive", f"file={path.replace(',', ',,')},if=none,id=disk{index},format={image_format}{limit}"]
    if kind == "nvme":
        return drive + ["-device", f"nvme,drive=disk{index},serial=lab{index},addr={0x8 + index:#x}"]
    if kind == "nvme-sriov":
        return drive + sriov_disk(index, share, os.path.getsize(path))
    return drive + [
        "-device", f"ich9-ahci,id=ahci{index},addr={0x8 + index:#x}",
        "-device", f"ide-hd,drive=disk{index},bus=ahci{index}.0,serial=lab{index}",
    ]  # fmt: skip


def usb_devices(specs, share):
    """kbd, mouse, tablet, disk:FILE, or any QEMU USB device with its properties."""
    if not specs:
        return []
    arguments = ["-device", "qemu-xhci,id=usb,addr=0x7"]
    for index, spec in enumerate(specs):
        if spec.startswith("disk:"):
            path = image_file(spec.removeprefix("disk:"), share)
            arguments += ["-drive", f"file={path.replace(',', ',,')},if=none,id=stick{index},format=raw"]
            spec = f"usb-storage,drive=stick{index},serial=stick{index}"
        elif not spec.startswith("usb-"):
            spec = "usb-" + spec
        arguments += ["-device", f"{spec},bus=usb.0"]
    return arguments


class Vm:
    """A Service VM from start to kill(). `share` is the directory that it sees as /run/lab."""

    def __init__(self, options, mark):
        self.options = options
        self.mark = mark
        self.share = tempfile.mkdtemp(prefix="cupule-lab-")
        self.console_path = os.path.join(self.share, "console.log")
        self.process = None
        self.channels = {}
        self.guest_ends = []
        self.helpers = []
        self.greeted = False

    def channel(self, name):
        """A connected pair: ours goes to `channels`, the other is inherited by QEMU."""
        ours, theirs = socket.socketpair()
        self.channels[name] = ours
        self.guest_ends.append(theirs)
        os.set_inheritable(theirs.fileno(), True)
        return ["-chardev", f"socket,id={name},fd={theirs.fileno()}"]

    def channel_arguments(self):
        arguments = ["-device", "virtio-serial-pci,id=ports,addr=0x1e"]
        for number, name in enumerate(("control", "stdout", "stderr"), start=1):
            arguments += self.channel(name)
            arguments += ["-device", f"virtserialport,bus=ports.0,nr={number},chardev={name},name=lab.{name}"]
        if self.options.interactive:
            arguments += self.channel("terminal")
            arguments += ["-device", "virtconsole,bus=ports.0,nr=0,chardev=terminal"]
        return arguments

    def monitor_arguments(self):
        return self.channel("monitor") + ["-mon", "chardev=monitor,mode=readline"]

    def read_to_prompt(self):
        prompt = b"(qemu) "
        text = b""
        while not text.endswith(prompt):
            piece = self.channels["monitor"].recv(65536)
            if not piece:
                raise OSError("it ended")
            text += piece
        return text.removesuffix(prompt).decode(errors="replace")

    def ask(self, question):
        """What QEMU's monitor answers; best effort."""
        monitor = self.channels["monitor"]
        monitor.settimeout(5.0)
        try:
            if not self.greeted:
                self.read_to_prompt()
                self.greeted = True
            monitor.sendall(question.encode() + b"\n")
            # The first line is the question as the monitor echoes it, with its cursor movements.
            return "\n".join(self.read_to_prompt().splitlines()[1:])
        except OSError as error:
            return f"(QEMU's monitor does not answer: {error})"

    def answer_monitor(self, number, question):
        """For the agent's command `monitor`: the answer becomes a file of the share."""
        path = os.path.join(self.share, f"monitor.{number}")
        with open(path + ".part", "w", encoding="utf-8") as file:
            answer = self.ask(question)
            file.write(answer + "\n" if answer else "")
        os.rename(path + ".part", path)

    def initrd_arguments(self, initrd):
        if not self.options.tpm:
            return ["-initrd", initrd, "-append", KERNEL_COMMAND_LINE]
        # QEMU puts an initrd directly below 160 KiB for the firmware's tables, which need more when there is a TPM: they
        # would be overwritten.
        address = 0x4000_0000
        place = f"initrdmem={address:#x},{os.path.getsize(initrd):#x}"
        return [
            "-device", f"loader,file={initrd},addr={address:#x},force-raw=on",
            "-append", f"{KERNEL_COMMAND_LINE} {place}",
        ]  # fmt: skip

    def tpm_arguments(self):
        """Starts swtpm, which ends when QEMU closes its connection."""
        if not shutil.which("swtpm"):
            raise LabError("swtpm is missing: run tools/install-deps (package swtpm)")
        state = tempfile.mkdtemp(prefix="tpm", dir=self.share)
        control = os.path.join(state, "control")
        self.helpers.append(
            subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
                 "--ctrl", f"type=unixio,path={control}", "--terminate"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            )
        )  # fmt: skip
        for _ in range(100):
            if os.path.exists(control):
                break
            time.sleep(0.1)
        return [
            "-chardev", f"socket,id=tpm,path={control}", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
            "-device", "tpm-crb,tpmdev=tpm0",
        ]  # fmt: skip

    @staticmethod
    def share_arguments(tag, path, slot, extra=""):
        quoted = path.replace(",", ",,")
        return [
            "-fsdev", f"local,id={tag},path={quoted},security_model=none{extra}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag},addr={slot:#x}",
        ]  # fmt: skip

    def command(self):
        options = self.options
        kernel = tool("kernels", "generic")
        self.write_config(kernel)
        command = [
            "setpriv", "--pdeathsig", "KILL",
            "qemu-system-x86_64", "-name", "cupule-lab", "-nodefaults", "-no-user-config", "-no-reboot",
            "-M", "q35,kernel-irqchip=off", "-accel", "tcg,thread=multi", "-cpu", "max,+svm,+npt,-xsave,-erms",
            "-smp", str(options.smp), "-m", str(options.memory), "-display", "none", "-vga", "none",
            "-device", "intel-iommu,intremap=" + ("off" if options.no_intremap else "on"),
            # Root ports have hot-plug registers of their own, as hardware has, not ACPI's.
            "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
            "-chardev", f"file,id=console,path={self.console_path}", "-serial", "chardev:console",
            "-kernel", f"{kernel}/vmlinux",
        ]  # fmt: skip
        command += self.initrd_arguments(tool("initramfs", "service"))
        for index, model in enumerate(options.nic):
            command += ["-netdev", f"user,id=net{index}", "-device", f"{model},netdev=net{index},addr={2 + index:#x}"]
        for index, spec in enumerate(options.disk):
            command += disk_devices(spec, index, self.share, options.disk_iops)
        command += usb_devices(options.usb, self.share)
        if options.tpm:
            command += self.tpm_arguments()
        command += self.share_arguments("host", "/", 0x1C, ",readonly=on,multidevs=remap")
        command += self.share_arguments("share", self.share, 0x1D)
        for index, path in enumerate(options.results):
            command += self.share_arguments(f"results{index}", path, 0x18 + index)
        command += self.monitor_arguments() + self.channel_arguments()
        # Behind the lab's own, which would otherwise go to a root bus that is among them (pxb-pcie).
        for spec in options.device:
            command += ["-device", spec]
        return command

    def write_config(self, kernel):
        """What service_init and service_agent read as shell variables."""
        shares = " ".join(f"results{index} {path}" for index, path in enumerate(self.options.results))
        values = {
            "MARK": self.mark,
            "MODULES": f"{kernel}/lib/modules",
            "SHARES": shares,
            "TTY": "1" if self.options.interactive else "0",
        }
        with open(os.path.join(self.share, "config"), "w", encoding="utf-8") as file:
            file.writelines(f"{name}={shlex.quote(value)}\n" for name, value in values.items())

    def start(self):
        if not shutil.which("qemu-system-x86_64", path=os.environ.get("PATH", "")):
            raise LabError("qemu-system-x86_64 is missing: run tools/install-deps (package qemu-system-x86)")
        command = self.command()
        if self.options.verbose:
            print("lab: " + shlex.join(command), file=sys.stderr)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[end.fileno() for end in self.guest_ends],
            start_new_session=True,
        )
        for end in self.guest_ends:
            end.close()

    def console(self):
        try:
            with open(self.console_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def send(self, line):
        try:
            self.channels["control"].sendall(line.encode() + b"\n")
        except OSError:
            pass  # QEMU has ended: the session notices that by itself.

    def kick(self):
        """Makes an interrupt; dropped where earlier ones have not been taken yet."""
        try:
            self.channels["control"].send(b"kick\n", socket.MSG_DONTWAIT)
        except OSError:
            pass

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for helper in self.helpers:
            helper.kill()
            helper.wait()
        for end in self.channels.values():
            end.close()
        shutil.rmtree(self.share, ignore_errors=True)

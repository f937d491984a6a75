"""What the benchmarks share: the commands of Cupule and of its peer QEMU, and tables of medians."""
import os
import statistics
import subprocess

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
APPEND = "console=ttyS0 quiet cupule.run=true"


def tool(*words):
    """The last line that one of the lab's tools prints: a path."""
    return subprocess.run([os.path.join(REPO, *words[0].split("/")), *words[1:]], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.split()[-1]


def cupule(binary, kernel, initramfs):
    return [binary, "run", "-m", "512M", "-k", kernel, "-r", initramfs, "-B", APPEND,
            "-s", "0:0,hostbridge", "-s", "1:0,lpc", "-l", "com1,stdio", "bench"]


def qemu(machine, kernel, initramfs):
    return ["qemu-system-x86_64", "-M", machine, "-accel", "kvm", "-cpu", "host", "-m", "512M", "-smp", "1",
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", kernel, "-initrd", initramfs, "-append", APPEND]


def competitors(binary, kernels, initramfs):
    """name -> command; each kernel's first is Cupule, to which the others are compared."""
    result = {}
    for file in ("vmlinux", "bzImage"):
        kernel = os.path.join(kernels, file)
        result[f"cupule {file}"] = cupule(binary, kernel, initramfs)
        result[f"microvm {file}"] = qemu("microvm", kernel, initramfs)
        result[f"q35 {file}"] = qemu("q35", kernel, initramfs)
    return result


def load():
    return "load " + " ".join(f"{value:.1f}" for value in os.getloadavg())


def table(unit, samples, rounds):
    """Minimum, median and maximum of each, and Cupule's median over the peer's with the same kernel."""
    print(f"\n{'':18}{'runs':>5}{'min':>10}{'median':>10}{'max':>10}   cupule/this   ({unit}; {rounds} rounds; {load()})")
    for name, values in samples.items():
        if not values:
            print(f"{name:18}{0:>5}   no figure")
            continue
        median = statistics.median(values)
        own = samples.get("cupule " + name.split()[1], [])
        ratio = f"{statistics.median(own) / median:14.2f}" if own and not name.startswith("cupule") else ""
        print(f"{name:18}{len(values):>5}{min(values):>10.2f}{median:>10.2f}{max(values):>10.2f}{ratio}", flush=True)

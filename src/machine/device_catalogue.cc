#include "machine/device_catalogue.h"

#include <algorithm>
#include <array>

namespace cupule::machine {
namespace {

using enum DeviceStatus;

// One line a device, sorted by name. Adding a device turns its line to `exists` or adds one.
// clang-format off
constexpr auto catalogue = std::to_array<DeviceInfo>({
    {"ahci", "8086:2821", "hd:PATH[,cd:PATH...]", "AHCI controller with up to 32 disks and CD drives", planned},
    {"ahci-cd", "8086:2821", "PATH", "AHCI controller with one CD drive", planned},
    {"ahci-hd", "8086:2821", "PATH", "AHCI controller with one disk", planned},
    {"amd_hostbridge", "1022:7432", "", "host bridge with AMD's ids", exists},
    {"dummy", "10dd:0001", "", "test device: BARs and MSI vectors that do nothing", planned},
    {"hostbridge", "1275:1275", "", "host bridge, normally at 0:0", exists},
    {"igd-lpc", "", "", "ISA bridge with the host bridge's ids, for Intel graphics", planned},
    {"ivshmem", "1af4:1110", "hv:/NAME,SIZE_MB[,REGION]", "memory between virtual machines, by the hypervisor (ACRN, cupule hsm)", exists},
    {"lpc", "8086:7000", "", "ISA bridge: serial ports (-l), PIRQ routing; at most one", exists},
    {"npk", "", "", "Intel trace hub", obsolete},
    {"passthru", "", "BUS/DEV/FUNC[,OPTION...]", "a PCI device of the host (VFIO)", exists},
    {"pci-gvt", "", "", "mediated Intel graphics", obsolete},
    {"uart", "9710:9900", "vuart_idx:N", "serial port to another virtual machine, by the hypervisor (ACRN)", exists},
    {"vhost-vsock", "1af4:1053", "cid=CID", "sockets between guest and host, by the kernel", exists},
    {"virtio-audio", "8086:8603", "", "virtio sound of older releases", planned},
    {"virtio-balloon", "1af4:1045", "[inflate=MIB][,stats=SECONDS][,no_deflate_on_oom][,no_reporting][,transitional|legacy]", "memory balloon; gives free pages back to the host", exists},
    {"virtio-blk", "1af4:1042", "[iothread[=N[@CPU...]],][mq=N,](PATH|nodisk)[,ro][,writeback|writethru][,nocache][,discard[=N:N:N]][,sectorsize=L[/P]][,range=START/SIZE][,aio=threads|io_uring][,pinned][,serial=TEXT][,bps=N[/N]][,iops=N[/N]][,transitional|legacy] | [mq=N,]vhost-user=SOCKET[,packed][,transitional|legacy]", "virtio disk; with vhost-user= another program serves it", exists},
    {"virtio-console", "1af4:1043", "[@](stdio|tty|pty|file|socket):NAME[=PATH][:server|:client],...[,transitional|legacy]", "virtio console with up to 16 ports", exists},
    {"virtio-coreu", "", "", "protected audio and video path", obsolete},
    {"virtio-fs", "1af4:105a", "vhost-user=SOCKET,tag=TAG[,queues=N][,packed]", "shared directory that virtiofsd serves", exists},
    {"virtio-gpio", "8086:8609", "@gpiochipN{OFFSET|NAME[=MAP]:...}", "virtio GPIO lines", planned},
    {"virtio-gpu", "1af4:1050", "geometry=WxH+X+Y | geometry=fullscreen[:N]", "virtio graphics", planned},
    {"virtio-hdcp", "", "", "content protection", obsolete},
    {"virtio-heci", "8086:8602", "BUS/DEV/FUNC,dN", "virtio management engine interface", planned},
    {"virtio-hyper_dmabuf", "8086:8606", "", "shared graphics buffers of older releases", planned},
    {"virtio-i2c", "1af4:1062", "BUS:ADDRESS[@HID]:...", "virtio I2C adapter", planned},
    {"virtio-input", "1af4:1052", "/dev/input/eventN[,SERIAL]", "virtio keyboard, mouse or touch screen", planned},
    {"virtio-ipu", "8086:8607", "", "virtio camera of older releases", planned},
    {"virtio-net", "1af4:1041", "(user[,hostfwd=(tcp|udp):[ADDR]:PORT-[ADDR]:PORT]...|tap=NAME|unix=PATH|unix-client=PATH|vhost-user=SOCKET|loop)[,mac=MAC][,mac_seed=TEXT][,mtu=N][,queues=N][,iothread[=N[@CPU...]]][,vhost][,bps=N[/N]][,pps=N[/N]][,transitional|legacy]", "virtio network card", exists},
    {"virtio-rnd", "1af4:1044", "[transitional|legacy]", "virtio entropy source", exists},
    {"virtio-rpmb", "8086:8601", "[physical_rpmb]", "virtio replay-protected storage", planned},
    {"virtio-vsock", "1af4:1053", "cid=CID,uds=PATH", "sockets between guest and Unix sockets of the host", exists},
    {"wdt-i6300esb", "8086:25ab", "", "Intel 6300ESB watchdog", planned},
    {"xhci", "1234:1234", "BUS-PORT[.PORT...][,tablet][,log=LEVEL][,cap=apl]", "USB 3 host controller", planned},
});
// clang-format on

static_assert(std::ranges::is_sorted(catalogue, {}, &DeviceInfo::name));

}  // namespace

std::span<const DeviceInfo> device_catalogue() {
    return catalogue;
}

const DeviceInfo* find_device(std::string_view name) {
    const auto* found = std::ranges::lower_bound(catalogue, name, {}, &DeviceInfo::name);
    return found != catalogue.end() && found->name == name ? found : nullptr;
}

}  // namespace cupule::machine

#include "dataplane/io/tun_device.hpp"

#include "dataplane/base/descriptor.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace twinspan {
namespace {

std::unexpected<Error> failed(const NetdevSpec& spec, const std::string& what) {
    return std::unexpected(Error{"netdev " + spec.name + ": " + what + ": " + std::strerror(errno)});
}

ifreq request_for(const NetdevSpec& spec) noexcept {
    ifreq request{};
    spec.name.copy(request.ifr_name, IFNAMSIZ - 1);
    return request;
}

}  // namespace

Result<TunDevice> TunDevice::create(const NetdevSpec& spec) {
    if (spec.name.empty() || spec.name.size() >= IFNAMSIZ) {
        return std::unexpected(Error{"netdev \"" + spec.name + "\": a name has 1 to 15 characters"});
    }
    if (if_nametoindex(spec.name.c_str()) != 0) {
        return std::unexpected(Error{"netdev " + spec.name + ": Linux has an interface of that name already"});
    }
    Descriptor tun{open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
    if (tun.get() < 0) {
        return failed(spec, "opening /dev/net/tun");
    }
    ifreq request = request_for(spec);
    request.ifr_flags =
        static_cast<short>((spec.kind == NetdevKind::tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI | IFF_TUN_EXCL);
    if (ioctl(tun.get(), TUNSETIFF, &request) != 0) {
        return failed(spec, "creating it");
    }
    // Without offloads Linux hands over finished checksums and packets no longer than the MTU.
    if (ioctl(tun.get(), TUNSETOFFLOAD, 0) != 0) {
        return failed(spec, "turning offloads off");
    }
    const Descriptor control{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    if (spec.kind == NetdevKind::tap) {
        request = request_for(spec);
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        std::memcpy(request.ifr_hwaddr.sa_data, spec.mac.data(), spec.mac.size());
        if (ioctl(control.get(), SIOCSIFHWADDR, &request) != 0) {
            return failed(spec, "setting its MAC address");
        }
    }
    request = request_for(spec);
    request.ifr_mtu = spec.mtu;
    if (ioctl(control.get(), SIOCSIFMTU, &request) != 0) {
        return failed(spec, "setting MTU " + std::to_string(spec.mtu));
    }
    TunDevice device{tun.release()};
    device.set_carrier(false);
    return device;
}

TunDevice::~TunDevice() {
    if (fd_ >= 0) {
        close(fd_);
    }
}

void TunDevice::set_carrier(bool up) const noexcept {
    int carrier = up ? 1 : 0;
    ioctl(fd_, TUNSETCARRIER, &carrier);  // a kernel before 5.0 lacks it: then the netdev always has carrier
}

}  // namespace twinspan

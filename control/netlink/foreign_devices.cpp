#include "control/netlink/foreign_devices.hpp"

#include <net/if.h>

#include <array>
#include <string>

namespace twinspan::netlink {

void ForeignDevices::count(const std::vector<NextHop>& hops) {
    for (const NextHop& hop : hops) {
        const auto known = devices_.find(hop.ifindex);
        if (known != devices_.end()) {
            ++known->second.routes;
        } else if (devices_.size() < kMost) {
            devices_.emplace(hop.ifindex, Device{.routes = 1});
            any_new_ = true;
        } else if (!full_) {
            full_ = any_new_ = true;
        }
    }
}

void ForeignDevices::name_new(const Name& name) {
    if (!any_new_) {
        return;
    }
    any_new_ = false;
    for (auto& [ifindex, device] : devices_) {
        if (!device.named) {
            device.named = true;
            std::array<char, IF_NAMESIZE> text{};
            const bool gone = if_indextoname(ifindex, text.data()) == nullptr;
            name(gone ? "device " + std::to_string(ifindex) : std::string{text.data()}, device.routes);
        }
    }
    if (full_) {
        name({}, 0);
    }
}

}  // namespace twinspan::netlink

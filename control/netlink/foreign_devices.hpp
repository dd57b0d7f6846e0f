// Devices that have routes in Linux and are none of ours: each is named once, however many routes it has.
#pragma once

#include "control/netlink/types.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

namespace twinspan::netlink {

class ForeignDevices {
public:
    // Containers come and go: beyond so many devices none is named any more.
    static constexpr std::size_t kMost = 64;
    // `routes`: those seen by then. An empty name: the last call, there are more devices than are named.
    using Name = std::function<void(std::string_view device, std::uint64_t routes)>;

    void count(const std::vector<NextHop>& hops);
    // Names those that were not named before.
    void name_new(const Name& name);

private:
    struct Device {
        std::uint64_t routes = 0;
        bool named = false;
    };
    std::map<IfIndex, Device> devices_;
    bool any_new_ = false;
    bool full_ = false;
};

}  // namespace twinspan::netlink

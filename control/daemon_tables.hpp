// Failover's view of the real data plane.
#pragma once

#include "control/daemon.hpp"

namespace twinspan {

class Daemon::DataplaneTables : public Tables {
public:
    explicit DataplaneTables(Dataplane& dataplane) : dataplane_(dataplane) {}

    void publish(std::unique_ptr<const Snapshot> next) override { dataplane_.publish(std::move(next)); }
    void synchronize() override { dataplane_.synchronize(); }
    Result<void> insert(const IpPrefix& prefix, RouteResult result) override {
        return prefix.family() == IpFamily::v4 ? dataplane_.insert(prefix.address.v4(), prefix.length, result)
                                               : dataplane_.insert(prefix.address.v6(), prefix.length, result);
    }
    void erase(const IpPrefix& prefix) override {
        if (prefix.family() == IpFamily::v4) {
            dataplane_.erase(prefix.address.v4(), prefix.length);
        } else {
            dataplane_.erase(prefix.address.v6(), prefix.length);
        }
    }
    void set_carrier(std::uint16_t netdev, bool up) override { dataplane_.set_carrier(netdev, up); }

private:
    Dataplane& dataplane_;
};

}  // namespace twinspan

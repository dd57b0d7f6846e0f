// The NAT's rows of `show metrics`: by pool, address, protocol and cause.
#include "control/rpc/status.hpp"
#include "dataplane/state/nat_table.hpp"

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace twinspan {
namespace {

using nlohmann::json;

constexpr std::uint32_t kMostAddressRows = 256;  // of one pool: counters tell so many addresses apart
constexpr std::array<std::pair<NatProtocol, const char*>, kNatPortProtocols> kProtocols{
    {{NatProtocol::tcp, "tcp"}, {NatProtocol::udp, "udp"}, {NatProtocol::icmp, "icmp"}}};

struct PoolRow {
    std::uint16_t index;
    const PoolConfig& config;
    const NatPool& pool;
    NatUsage usage;

    // Two pools of one peering differ by their link.
    json labels() const {
        json result{{"pool", to_string(config.zone)}};
        if (config.link != Link::none) {
            result["link"] = to_string(config.link);
        }
        return result;
    }
    json labels(const char* name, std::string value) const {
        json result = labels();
        result[name] = std::move(value);
        return result;
    }
};

class Rows {
public:
    explicit Rows(json& metrics) : metrics_(metrics) {}
    void add(std::string_view name, const char* kind, const char* help, std::uint64_t value, json labels) {
        metrics_.push_back({{"name", "twinspan_nat_" + std::string{name}},
                            {"kind", kind},
                            {"help", help},
                            {"value", value},
                            {"labels", std::move(labels)}});
    }

private:
    json& metrics_;
};

template <class Fn>
void each_address(const NatPool& pool, Fn&& fn) {
    if (pool.address_count > kMostAddressRows) {
        return;
    }
    for (std::uint32_t i = 0; i < pool.address_count; ++i) {
        fn(pool.nth_address(i));
    }
}

void add_ports(Rows& rows, const NatTable& table, const PoolRow& row, bool in_use) {
    each_address(row.pool, [&](be32 address) {
        for (const auto& [protocol, name] : kProtocols) {
            const auto ports = table.ports_in_use(address, protocol);
            if (!ports) {
                continue;  // one address too many to be metered
            }
            json labels = row.labels("address", IpAddress::from(address).text());
            labels["protocol"] = name;
            const std::uint32_t all = row.pool.port_count();
            if (in_use) {
                rows.add("ports_in_use", "gauge", "Outside ports that a session or mapping has, each once", *ports,
                         std::move(labels));
            } else {
                rows.add("ports_free", "gauge", "Outside ports that nothing has", all - std::min(all, *ports),
                         std::move(labels));
            }
        }
    });
}

void add_refused(Rows& rows, const PoolRow& row) {
    const NatUsage& usage = row.usage;
    const std::pair<const char*, std::uint64_t> causes[] = {{"ports", usage.ports_exhausted},
                                                            {"sessions", usage.sessions_exhausted},
                                                            {"blocks", usage.blocks_exhausted},
                                                            {"host-limit", usage.host_limited},
                                                            {"host-rate", usage.host_rate_limited}};
    for (const auto& [cause, count] : causes) {
        rows.add("refused_total", "counter", "Sessions that could not begin, by what was in the way", count,
                 row.labels("cause", cause));
    }
}

}  // namespace

// Rows of one name stand together, as Prometheus wants them.
void add_nat_metrics(const StatusSources& s, json& metrics) {
    if (s.nat == nullptr) {
        return;
    }
    Rows rows{metrics};
    const std::vector<PoolConfig>& configured = s.failover->world().config.pools;
    const auto each_pool = [&](auto&& fn) {
        for (std::uint16_t i = 0; i < configured.size(); ++i) {
            if (!is_gone(configured[i])) {
                fn(PoolRow{i, configured[i], s.failover->snapshot().pools[i], s.nat->usage(i)});
            }
        }
    };
    each_pool([&](const PoolRow& row) {
        for (const auto& [protocol, name] : kProtocols) {
            rows.add("sessions", "gauge", "NAT sessions, by pool and protocol",
                     row.usage.in_use[static_cast<std::size_t>(protocol)], row.labels("protocol", name));
        }
    });
    each_pool([&](const PoolRow& row) {
        rows.add("sessions_limit", "gauge", "The pool's part of the session table", row.config.sessions, row.labels());
    });
    each_pool([&](const PoolRow& row) {
        each_address(row.pool, [&](be32 address) {
            rows.add("address_sessions", "gauge", "NAT sessions, by pool and outside address",
                     s.nat->sessions_on(row.index, address), row.labels("address", IpAddress::from(address).text()));
        });
    });
    each_pool([&](const PoolRow& row) { add_ports(rows, *s.nat, row, true); });
    each_pool([&](const PoolRow& row) { add_ports(rows, *s.nat, row, false); });
    each_pool([&](const PoolRow& row) {
        rows.add("opened_total", "counter", "NAT sessions that began", row.usage.opened, row.labels());
    });
    each_pool([&](const PoolRow& row) {
        rows.add("ended_total", "counter", "NAT sessions that ended", row.usage.expired, row.labels());
    });
    each_pool([&](const PoolRow& row) {
        rows.add("evicted_total", "counter", "Transitory NAT sessions that ended early, for others to have room",
                 row.usage.evicted, row.labels());
    });
    each_pool([&](const PoolRow& row) { add_refused(rows, row); });
    each_pool([&](const PoolRow& row) {
        const bool watched = s.nat_status != nullptr && row.index < s.nat_status->pools();
        rows.add("high_water", "gauge", "1 from the high mark up to the low mark down",
                 watched && s.nat_status->watch(row.index).water().is_high, row.labels());
    });
}

}  // namespace twinspan

// `show nat`: pools, what they grant and refuse, their addresses, and the sessions.
#include "control/ctl/view_parts.hpp"

#include <utility>

namespace twinspan::ctl {

namespace {

using nlohmann::json;

constexpr Column kPools[] = {
    {"peering", "peering"},
    {"link", "link", Format::text, Empty::hide},
    {"addresses", "addresses", Format::list},
    {"ports", "ports"},
    {"sessions", "sessions", Format::count},
    {"of", "limit", Format::count},
    {"tcp", "by_protocol.tcp", Format::count},
    {"udp", "by_protocol.udp", Format::count},
    {"icmp", "by_protocol.icmp", Format::count},
};
constexpr Column kPoolCounters[] = {
    {"peering", "peering"},
    {"link", "link", Format::text, Empty::hide},
    {"created", "created", Format::count},
    {"expired", "expired", Format::count},
    {"evicted", "evicted", Format::count},
    {"no port", "ports_exhausted", Format::count},
    {"no room", "sessions_exhausted", Format::count},
    {"water", "water.state", Format::text, Empty::hide},
    {"peak", "water.peak", Format::count, Empty::hide},
    {"full in", "full_in", Format::text, Empty::hide},
};
constexpr Column kDraining[] = {{"peering", "peering"},
                                {"state", "state"},
                                {"addresses", "addresses", Format::list},
                                {"sessions left", "sessions", Format::count}};
constexpr Column kPoolRules[] = {
    {"peering", "peering"},
    {"link", "link", Format::text, Empty::hide},
    {"mode", "mode"},
    {"host limit", "host_limited", Format::count},
    {"host rate", "host_rate_limited", Format::count},
    {"no block", "blocks_exhausted", Format::count},
};
constexpr Column kPoolAddresses[] = {
    {"peering", "peering"},
    {"address", "address"},
    {"protocol", "protocol"},
    {"sessions", "sessions", Format::count},
    {"ports in use", "ports", Format::count},
    {"free", "ports_free", Format::count},
};
constexpr Column kTalkers[] = {{"peering", "peering"}, {"top host", "host"}, {"sessions", "sessions", Format::count}};
constexpr Column kRemotes[] = {
    {"peering", "peering"},
    {"protocol", "protocol"},
    {"top remote", "remote"},
    {"sessions", "sessions", Format::count},
    {"ports free", "free", Format::count},
};
constexpr Column kSessions[] = {
    {"protocol", "protocol"}, {"inside", "inside"}, {"outside", "outside"},
    {"remote", "remote"},     {"state", "state"},   {"idle", "idle_s", Format::seconds},
};

std::string forecast(const json& pool) {
    const auto at = pool.find("forecast");
    if (at == pool.end() || !at->is_object()) {
        return "";
    }
    const auto seconds = at->find("full_in_s");
    return seconds != at->end() && seconds->is_number_unsigned() ? human_seconds(seconds->get<std::uint64_t>())
                                                                 : "not at this rate";
}

std::string optional_table(std::span<const Column> columns, const json& rows) {
    return rows.empty() ? "" : render(columns, rows) + '\n';
}

// Something else than the default, or a limit that was met.
bool has_rules(const json& pool) {
    return text_at(pool, "mode") == "endpoint-independent" || count_at(pool, "host_limited") != 0 ||
           count_at(pool, "host_rate_limited") != 0 || count_at(pool, "blocks_exhausted") != 0;
}

}  // namespace

std::string nat_view(const json& data) {
    json pools = list_at(data, "pools");
    json addresses = json::array();
    json draining = json::array();
    json rules = json::array();
    std::uint64_t used = 0;
    for (json& pool : pools) {
        if (!pool.is_object()) {
            continue;
        }
        if (json row = pool.value("draining", json{}); row.is_object()) {
            row["peering"] = text_at(pool, "peering");
            row["state"] = "draining";
            draining.push_back(std::move(row));
        }
        used += count_at(pool, "sessions");
        pool["full_in"] = forecast(pool);
        if (has_rules(pool)) {
            rules.push_back(pool);
        }
        for (json row : list_at(pool, "by_address")) {
            if (row.is_object()) {
                row["peering"] = text_at(pool, "peering");
                addresses.push_back(std::move(row));
            }
        }
    }
    return two_tables(kPools, kPoolCounters, pools, "no pools") + '\n' + optional_table(kDraining, draining) +
           optional_table(kPoolRules, rules) + optional_table(kPoolAddresses, addresses) +
           optional_table(kTalkers, list_at(data, "talkers")) + optional_table(kRemotes, list_at(data, "remotes")) +
           table(kSessions, list_at(data, "sessions"), "no sessions") + '\n' + with_thousands(used) + " of " +
           with_thousands(count_at(data, "capacity")) + " sessions, " + human_bytes(count_at(data, "memory_bytes")) +
           '\n';
}

}  // namespace twinspan::ctl

// What the NAT holds, by pool, address and protocol; who uses most of it; and when it will be full.
#include "control/rpc/status.hpp"
#include "dataplane/packet/headers.hpp"
#include "dataplane/state/nat_table.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace twinspan {
namespace {

using nlohmann::json;

std::string end_text(be32 address, be16 port) {
    return IpAddress::from(address).text() + ":" + std::to_string(port.host());
}

std::string protocol_text(std::uint8_t protocol) {
    switch (protocol) {
        case +IpProtocol::tcp:
            return "tcp";
        case +IpProtocol::udp:
            return "udp";
        case +IpProtocol::icmp:
            return "icmp";
        default:
            return std::to_string(protocol);
    }
}

std::string session_state(const NatSessionView& session) {
    if (session.protocol() != +IpProtocol::tcp) {
        return "";
    }
    return nat_tcp::closing(session.tcp) ? "closing" : nat_tcp::opened(session.tcp) ? "established" : "opening";
}

// Sessions are stamped by the workers' coarse clock; the one seen last tells what time that clock has, at least.
json sessions_json(const std::vector<NatSessionView>& views) {
    const std::uint32_t now = views.empty() ? 0 : views.front().last_seen;
    json result = json::array();
    for (const NatSessionView& view : views) {
        result.push_back({{"protocol", protocol_text(view.protocol())},
                          {"inside", end_text(view.inside.address(), view.inside.port())},
                          {"outside", end_text(view.outside.address(), view.outside.port())},
                          {"remote", end_text(view.inside.remote(), view.inside.remote_port())},
                          {"state", session_state(view)},
                          {"idle_s", now - view.last_seen}});
    }
    return result;
}

// How many sessions is what the survey saw, the ports are those of this moment; null: nobody counts them.
json by_address(const StatusSources& s, std::size_t index, const NatSurveyResult& survey) {
    const std::uint32_t all = s.failover->snapshot().pools[index].port_count();
    json rows = json::array();
    for (const NatAddressUse& use : survey.addresses) {
        if (use.pool != index) {
            continue;
        }
        const auto ports =
            nat_has_ports(use.protocol) ? s.nat->ports_in_use(use.address, nat_protocol(use.protocol)) : std::nullopt;
        rows.push_back({{"address", IpAddress::from(use.address).text()},
                        {"protocol", protocol_text(use.protocol)},
                        {"sessions", use.sessions},
                        {"ports", ports ? json(*ports) : json{}},
                        {"ports_free", ports ? json(all - std::min(all, *ports)) : json{}}});
    }
    return rows;
}

json water_json(const NatWater& water) {
    return {{"state", water.is_high ? "high" : "normal"},
            {"high", water.high},
            {"low", water.low},
            {"peak", water.peak},
            {"times", water.times}};
}

json forecast_json(const NatForecast& forecast) {
    return {{"growth_per_s", std::round(forecast.growth * 1000) / 1000},
            {"full_in_s", forecast.full_in_s ? json(*forecast.full_in_s) : json{}}};
}

const NatWatch* watch_of(const StatusSources& s, std::size_t pool) {
    return s.nat_status != nullptr && pool < s.nat_status->pools() ? &s.nat_status->watch(pool) : nullptr;
}

json ranges_json(const std::vector<Ipv4Range>& ranges) {
    json rows = json::array();
    for (const Ipv4Range range : ranges) {
        rows.push_back(IpAddress::from(range.first).text() + "-" + IpAddress::from(range.last).text());
    }
    return rows;
}

// What reloads have taken out, and the sessions that are still there.
json draining_json(const StatusSources& s, const PoolConfig& pool, std::size_t index) {
    if (pool.draining.empty()) {
        return {};
    }
    const auto left =
        s.nat_drain != nullptr ? s.nat_drain->sessions_left(static_cast<std::uint16_t>(index)) : std::nullopt;
    return {{"addresses", ranges_json(pool.draining)}, {"sessions", left ? json(*left) : json{}}};
}

json pool_json(const StatusSources& s, std::size_t index, const NatSurveyResult& survey) {
    const PoolConfig& pool = s.failover->world().config.pools[index];
    const NatUsage usage = s.nat != nullptr ? s.nat->usage(static_cast<std::uint16_t>(index)) : NatUsage{};
    const auto in_use = [&](NatProtocol p) { return usage.in_use[static_cast<std::size_t>(p)]; };
    const NatWatch* watch = watch_of(s, index);
    return {
        {"peering", to_string(pool.zone)},
        {"link", pool.link == Link::none ? "" : to_string(pool.link)},
        {"mode", pool.mapping == NatMapping::endpoint_independent ? "endpoint-independent" : "endpoint-dependent"},
        {"state", pool.removed() ? "draining" : "active"},
        {"addresses", ranges_json(pool.ranges)},
        {"draining", draining_json(s, pool, index)},
        {"ports", std::to_string(pool.first_port) + "-" + std::to_string(pool.last_port)},
        {"sessions", usage.sessions},
        {"limit", pool.sessions},
        {"created", usage.opened},
        {"expired", usage.expired},
        {"evicted", usage.evicted},
        {"ports_exhausted", usage.ports_exhausted},
        {"sessions_exhausted", usage.sessions_exhausted},
        {"blocks_exhausted", usage.blocks_exhausted},
        {"host_limited", usage.host_limited},
        {"host_rate_limited", usage.host_rate_limited},
        {"by_protocol",
         {{"tcp", in_use(NatProtocol::tcp)}, {"udp", in_use(NatProtocol::udp)}, {"icmp", in_use(NatProtocol::icmp)}}},
        {"by_address", by_address(s, index, survey)},
        {"water", watch != nullptr ? water_json(watch->water()) : json{}},
        {"forecast", watch != nullptr ? forecast_json(watch->forecast()) : json{}}};
}

std::string peering_of(const std::vector<PoolConfig>& pools, std::uint16_t index) {
    return index < pools.size() ? to_string(pools[index].zone) : "";
}

json talkers_json(const std::vector<PoolConfig>& pools, const NatSurveyResult& survey) {
    json rows = json::array();
    for (const NatTalker& talker : survey.talkers) {
        rows.push_back({{"peering", peering_of(pools, talker.pool)},
                        {"host", IpAddress::from(talker.host).text()},
                        {"sessions", talker.sessions}});
    }
    return rows;
}

// Towards one remote end a port serves one session: that many are left.
json remotes_json(const std::vector<PoolConfig>& configured, const std::vector<NatPool>& pools,
                  const NatSurveyResult& survey) {
    json rows = json::array();
    for (const NatRemote& remote : survey.remotes) {
        const std::uint64_t room = remote.pool < pools.size() ? std::uint64_t{pools[remote.pool].address_count} *
                                                                    pools[remote.pool].port_count()
                                                              : 0;
        rows.push_back({{"peering", peering_of(configured, remote.pool)},
                        {"protocol", protocol_text(remote.protocol)},
                        {"remote", end_text(remote.address, remote.port)},
                        {"sessions", remote.sessions},
                        {"free", room - std::min(room, remote.sessions)}});
    }
    return rows;
}

}  // namespace

json show_nat(const StatusSources& s) {
    NatSurvey* const survey_of = s.nat_status != nullptr && s.nat != nullptr ? &s.nat_status->survey() : nullptr;
    if (survey_of != nullptr) {
        survey_of->ask(*s.nat, std::chrono::steady_clock::now());
    }
    const NatSurveyResult survey = survey_of != nullptr ? survey_of->result() : NatSurveyResult{};
    const std::vector<PoolConfig>& configured = s.failover->world().config.pools;
    json pools = json::array();
    for (std::size_t i = 0; i < configured.size(); ++i) {
        if (!is_gone(configured[i])) {
            pools.push_back(pool_json(s, i, survey));
        }
    }
    return {{"pools", std::move(pools)},
            {"talkers", talkers_json(configured, survey)},
            {"remotes", remotes_json(configured, s.failover->snapshot().pools, survey)},
            {"sessions", sessions_json(survey.recent)},
            {"survey",
             {{"complete", survey.complete},
              {"running", survey_of != nullptr && survey_of->under_way()},
              {"sessions", survey.sessions},
              {"uncounted", survey.uncounted}}},
            {"capacity", s.nat != nullptr ? s.nat->capacity() : 0u},
            {"memory_bytes", s.nat != nullptr ? s.nat->memory_bytes() : std::size_t{0}}};
}

}  // namespace twinspan

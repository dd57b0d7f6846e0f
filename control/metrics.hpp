// What control counts about its own work, above all what went wrong and was gone on from. The table below names and
// explains every metric, as kDropInfo does for packets. Control thread only.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace twinspan {

enum class Metric : std::uint8_t {
    mirror_messages,
    mirror_errors,
    mirror_overruns,
    mirror_interruptions,
    mirror_resyncs,
    mirror_routes_ignored,
    mirror_truncated,
    mirror_retries,
    mirror_routes,
    mirror_audits,
    mirror_audit_difference,
    mirror_audit_age_seconds,
    mirror_lag_us,
    mirror_lag_median_us,
    mirror_waiting,
    routes_refused,
    routes_without_room,
    xfrm_messages,
    xfrm_errors,
    xfrm_truncated,
    xfrm_overruns,
    xfrm_resyncs,
    xfrm_sa_unknown_if_id,
    xfrm_sa_unsupported,
    xfrm_sa_key_length,
    xfrm_sa_address,
    xfrm_sa_spi_conflict,
    xfrm_sa_key_reused,
    xfrm_sa_failed,
    xfrm_write_failures,
    xfrm_soft_expires,
    xfrm_hard_expires,
    sa_publication_us,
    sa_publication_most_us,
    ike_overdue,
    sa_lifetimes_near_end,
    sa_lifetimes_over,
    tunnel_moves,
    tunnel_moves_refused,
    failover_port,
    failover_neighbour,
    failover_sas,
    failover_drain,
    failover_groups,
    failover_repair_us,
    ecn_dangerous,
    ecn_unused,
    packets_fragmented,
    fragments_merged,
    fragments_held,
    nat_log_records,
    nat_log_messages,
    nat_log_ring_full,
    nat_log_limited,
    nat_log_unsent,
    nat_log_connections,
    nat_log_connected,
    nat_restored,
    nat_left_out_expired,  // from here on as NatLeftOut
    nat_left_out_no_pool,
    nat_left_out_no_address,
    nat_left_out_taken,
    nat_left_out_host_limit,
    nat_left_out_no_room,
    nat_left_out_nonsense,
};

enum class MetricKind : std::uint8_t { counter, gauge };

struct MetricInfo {
    Metric id;
    MetricKind kind;
    std::string_view name;  // without the common prefix "twinspan_"
    std::string_view help;
};

inline constexpr auto kMetricInfo = std::to_array<MetricInfo>({
    {Metric::mirror_messages, MetricKind::counter, "mirror_messages_total", "Messages of rtnetlink, events and dumps"},
    {Metric::mirror_errors, MetricKind::counter, "mirror_errors_total", "Malformed messages and refused dumps"},
    {Metric::mirror_overruns, MetricKind::counter, "mirror_overruns_total",
     "The kernel dropped events; a resync follows"},
    {Metric::mirror_interruptions, MetricKind::counter, "mirror_interruptions_total",
     "A dump changed under way and was repeated"},
    {Metric::mirror_resyncs, MetricKind::counter, "mirror_resyncs_total", "Completed resyncs"},
    {Metric::mirror_routes_ignored, MetricKind::counter, "mirror_routes_ignored_total",
     "Messages on routes of other tables, devices or kinds"},
    {Metric::mirror_truncated, MetricKind::counter, "mirror_truncated_total",
     "Reads of rtnetlink that ended within a message; a resync follows"},
    {Metric::mirror_retries, MetricKind::counter, "mirror_retries_total",
     "Dumps put off for want of memory or descriptors"},
    {Metric::mirror_routes, MetricKind::gauge, "mirror_routes", "Routes in the mirror"},
    {Metric::mirror_audits, MetricKind::counter, "mirror_audits_total",
     "Completed comparisons of the mirror with the kernel"},
    {Metric::mirror_audit_difference, MetricKind::gauge, "mirror_audit_difference",
     "Prefixes that the last audit found wrong and put right"},
    {Metric::mirror_audit_age_seconds, MetricKind::gauge, "mirror_audit_age_seconds", "Since the last audit"},
    {Metric::mirror_lag_us, MetricKind::gauge, "mirror_lag_us",
     "From reading the last batch of route events to its FIB entries"},
    {Metric::mirror_lag_median_us, MetricKind::gauge, "mirror_lag_median_us", "The same, median of the last 128"},
    {Metric::mirror_waiting, MetricKind::gauge, "mirror_waiting", "Prefixes whose change waits for its turn"},
    {Metric::routes_refused, MetricKind::gauge, "routes_refused", "Routes that policy does not use, 4096 at most"},
    {Metric::routes_without_room, MetricKind::gauge, "routes_without_room", "Routes that found the FIB full"},
    {Metric::xfrm_messages, MetricKind::counter, "xfrm_messages_total", "Messages on IPsec SAs, events and dumps"},
    {Metric::xfrm_errors, MetricKind::counter, "xfrm_errors_total",
     "Malformed messages on IPsec SAs and refused dumps"},
    {Metric::xfrm_truncated, MetricKind::counter, "xfrm_truncated_total",
     "Reads of IPsec SAs that ended within a message"},
    {Metric::xfrm_overruns, MetricKind::counter, "xfrm_overruns_total",
     "The kernel dropped events on IPsec SAs; a resync follows"},
    {Metric::xfrm_resyncs, MetricKind::counter, "xfrm_resyncs_total", "Completed resyncs of IPsec SAs"},
    {Metric::xfrm_sa_unknown_if_id, MetricKind::counter, "xfrm_sa_unknown_if_id_total",
     "SAs refused: no tunnel has their if_id"},
    {Metric::xfrm_sa_unsupported, MetricKind::counter, "xfrm_sa_unsupported_total",
     "SAs refused: cipher, ICV, mode or encapsulation"},
    {Metric::xfrm_sa_key_length, MetricKind::counter, "xfrm_sa_key_length_total",
     "SAs refused: key of the wrong length"},
    {Metric::xfrm_sa_address, MetricKind::counter, "xfrm_sa_address_total",
     "SAs refused: other addresses than their tunnel's"},
    {Metric::xfrm_sa_spi_conflict, MetricKind::counter, "xfrm_sa_spi_conflict_total",
     "SAs refused: another inbound SA has their SPI"},
    {Metric::xfrm_sa_key_reused, MetricKind::counter, "xfrm_sa_key_reused_total",
     "SAs refused: another SA has their key and salt"},
    {Metric::xfrm_sa_failed, MetricKind::counter, "xfrm_sa_failed_total",
     "SAs refused: the kernel or the cipher did not take them"},
    {Metric::xfrm_write_failures, MetricKind::counter, "xfrm_write_failures_total",
     "Sequence numbers and counters that the kernel did not take"},
    {Metric::xfrm_soft_expires, MetricKind::counter, "xfrm_soft_expires_total",
     "SAs that the key daemon was told to rekey"},
    {Metric::xfrm_hard_expires, MetricKind::counter, "xfrm_hard_expires_total",
     "SAs that were stopped at a hard limit"},
    {Metric::sa_publication_us, MetricKind::gauge, "sa_publication_us",
     "From reading of the last inbound SA that Linux got to its publication"},
    {Metric::sa_publication_most_us, MetricKind::gauge, "sa_publication_most_us",
     "The same, the longest since the start"},
    {Metric::ike_overdue, MetricKind::counter, "ike_overdue_total",
     "IKE packets of Linux that left before the workers had its SAs, after 500 ms"},
    {Metric::sa_lifetimes_near_end, MetricKind::counter, "sa_lifetimes_near_end_total",
     "SAs with static keys that have used nine tenths of their lifetime"},
    {Metric::sa_lifetimes_over, MetricKind::counter, "sa_lifetimes_over_total",
     "SAs with static keys that were stopped at the end of their lifetime"},
    {Metric::tunnel_moves, MetricKind::counter, "tunnel_moves_total",
     "Peers that sent from another address or port, and were followed there"},
    {Metric::tunnel_moves_refused, MetricKind::counter, "tunnel_moves_refused_total",
     "Peers that sent from where the configuration lets no packet go"},
    {Metric::failover_port, MetricKind::counter, "failover_port_total", "Repairs because a port went down or came up"},
    {Metric::failover_neighbour, MetricKind::counter, "failover_neighbour_total",
     "Repairs because a gateway does not answer"},
    {Metric::failover_sas, MetricKind::counter, "failover_sas_total", "Publications because SAs came or went"},
    {Metric::failover_drain, MetricKind::counter, "failover_drain_total", "Repairs because of drain and undrain"},
    {Metric::failover_groups, MetricKind::counter, "failover_groups_total", "Groups that repairs moved flows in"},
    {Metric::failover_repair_us, MetricKind::gauge, "failover_repair_us",
     "Duration of the last repair, publication included"},
    {Metric::ecn_dangerous, MetricKind::counter, "ecn_dangerous_total",
     "Packets out of tunnels whose ECN field was changed on the way against RFC 6040's rules"},
    {Metric::ecn_unused, MetricKind::counter, "ecn_unused_total",
     "Packets out of tunnels with ECN fields that no known sender combines (RFC 6040 section 4.2)"},
    {Metric::packets_fragmented, MetricKind::counter, "fragmented_total",
     "Pieces that packets longer than their way were cut into, less one each"},
    {Metric::fragments_merged, MetricKind::counter, "fragments_merged_total",
     "Fragments that made packets for us whole, less one each"},
    {Metric::fragments_held, MetricKind::gauge, "fragments_held", "Fragments that wait for the rest of their packet"},
    {Metric::nat_log_records, MetricKind::counter, "nat_log_records_total", "NAT events sent to the collector"},
    {Metric::nat_log_messages, MetricKind::counter, "nat_log_messages_total", "IPFIX messages sent to the collector"},
    {Metric::nat_log_ring_full, MetricKind::counter, "nat_log_ring_full_total",
     "NAT events lost because control or the collector was too slow"},
    {Metric::nat_log_limited, MetricKind::counter, "nat_log_limited_total",
     "NAT sessions and mappings not logged because of the configured rate"},
    {Metric::nat_log_unsent, MetricKind::counter, "nat_log_unsent_total",
     "NAT events lost on the way out: no route, no room, a connection that broke"},
    {Metric::nat_log_connections, MetricKind::counter, "nat_log_connections_total",
     "How often a way to the collector was opened"},
    {Metric::nat_log_connected, MetricKind::gauge, "nat_log_connected", "1 when messages can be sent"},
    {Metric::nat_restored, MetricKind::counter, "nat_restored_total", "NAT sessions of an earlier run that went on"},
    {Metric::nat_left_out_expired, MetricKind::counter, "nat_left_out_expired_total",
     "NAT sessions of an earlier run that have been idle for too long"},
    {Metric::nat_left_out_no_pool, MetricKind::counter, "nat_left_out_no_pool_total",
     "The same whose pool is gone, or down"},
    {Metric::nat_left_out_no_address, MetricKind::counter, "nat_left_out_no_address_total",
     "The same whose address or port is none of the pool's any more"},
    {Metric::nat_left_out_taken, MetricKind::counter, "nat_left_out_taken_total",
     "The same whose address and port another session has"},
    {Metric::nat_left_out_host_limit, MetricKind::counter, "nat_left_out_host_limit_total",
     "The same whose host has as many as it may"},
    {Metric::nat_left_out_no_room, MetricKind::counter, "nat_left_out_no_room_total",
     "The same that the table had no room for"},
    {Metric::nat_left_out_nonsense, MetricKind::counter, "nat_left_out_nonsense_total",
     "Records of an earlier run that were torn, or never sessions"},
});
inline constexpr std::size_t kMetricCount = kMetricInfo.size();

static_assert(std::ranges::all_of(kMetricInfo,
                                  [i = std::size_t{0}](const MetricInfo& m) mutable {
                                      return static_cast<std::size_t>(m.id) == i++;
                                  }),
              "kMetricInfo must list the metrics in enum order");

class Metrics {
public:
    void add(Metric metric, std::uint64_t n = 1) noexcept { values_[static_cast<std::size_t>(metric)] += n; }
    void set(Metric metric, std::uint64_t value) noexcept { values_[static_cast<std::size_t>(metric)] = value; }
    std::uint64_t operator[](Metric metric) const noexcept { return values_[static_cast<std::size_t>(metric)]; }

private:
    std::array<std::uint64_t, kMetricCount> values_{};
};

}  // namespace twinspan

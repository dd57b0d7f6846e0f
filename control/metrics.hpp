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
    mirror_lag_us,
    failover_port,
    failover_neighbour,
    failover_sas,
    failover_drain,
    failover_groups,
    failover_repair_us,
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
    {Metric::mirror_lag_us, MetricKind::gauge, "mirror_lag_us",
     "From reading the last batch of events to acting on it"},
    {Metric::failover_port, MetricKind::counter, "failover_port_total", "Repairs because a port went down or came up"},
    {Metric::failover_neighbour, MetricKind::counter, "failover_neighbour_total",
     "Repairs because a gateway does not answer"},
    {Metric::failover_sas, MetricKind::counter, "failover_sas_total", "Publications because SAs came or went"},
    {Metric::failover_drain, MetricKind::counter, "failover_drain_total", "Repairs because of drain and undrain"},
    {Metric::failover_groups, MetricKind::counter, "failover_groups_total", "Groups that repairs moved flows in"},
    {Metric::failover_repair_us, MetricKind::gauge, "failover_repair_us",
     "Duration of the last repair, publication included"},
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

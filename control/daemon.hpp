// The composition root: makes every part from a configuration, joins them, and runs the control thread's loop.
#pragma once

#include "control/config/load.hpp"
#include "control/config/sa_file.hpp"
#include "control/failover.hpp"
#include "control/kernel_routes.hpp"
#include "control/metrics.hpp"
#include "control/nat/nat_drain.hpp"
#include "control/nat/nat_log.hpp"
#include "control/nat/nat_status.hpp"
#include "control/netlink/mirror.hpp"
#include "control/netlink/requests.hpp"
#include "control/netlink/xfrm_mirror.hpp"
#include "control/reload/plan.hpp"
#include "control/rpc/server.hpp"
#include "control/rpc/status.hpp"
#include "control/sa/sa_store.hpp"
#include "dataplane/dataplane.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace twinspan {

inline constexpr const char* kRunDirectory = "/run/twinspan";

class Daemon {
public:
    // Everything up to running workers. On an error all that was made is gone again. SIGTERM, SIGINT and SIGHUP
    // must be blocked.
    static Result<std::unique_ptr<Daemon>> start(ConfigFile file, std::vector<SaFile> sa_files);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    // Until SIGTERM or SIGINT; SIGHUP reloads. An error: what cannot be gone on without.
    Result<void> run();

private:
    class DataplaneTables;
    // Who says whether a port's link is up. A netdev that Linux has taken away takes the driver's socket with it.
    enum class LinkSource : std::uint8_t { device, kernel, gone };

    explicit Daemon(ConfigFile file);
    Result<void> open_dataplane();
    Result<void> open_netdevs();
    Result<void> open_sas(const std::vector<SaFile>& files);
    Result<void> open_xfrm();
    Result<void> bring_netdevs_up();
    Result<void> bring_up(const NetdevPlan& netdev);
    Result<void> open_mirror();
    Result<void> open_socket();
    Result<void> hold_ike();

    // daemon_reload.cpp
    Result<std::vector<std::string>> reload(bool only_check);
    Result<void> follow_configuration(ReloadPlan plan);
    void tick_drain();

    Result<void> follow_sas();
    void on_changes(const netlink::KernelState& state, const netlink::Changes& changes);
    void on_audit(const netlink::AuditReport& report);
    void follow_kernel_links(const netlink::KernelState& state);
    void follow_neighbours(const netlink::KernelState& state, const std::vector<netlink::NeighbourKey>& changed);
    void poll_links();
    bool refresh_linkdown_rules();  // whether one has changed
    void compile_if_due();
    void follow_routes();
    Result<void> steer();
    void tick();
    void tick_nat();
    void update_metrics();
    void tick_sas();
    void resolve_neighbours();
    void refresh_neighbours();
    void resolve(std::uint16_t leg, const IpAddress& address);

    // What workers use is declared before the data plane, and so outlives it.
    World world_;
    std::string config_file_;
    std::string config_text_;  // of it, when it was followed last
    Metrics metrics_;
    std::unique_ptr<SaStore> sas_;
    std::unique_ptr<netlink::XfrmMirror> xfrm_;  // null where no tunnel has IKE
    std::unique_ptr<Dataplane> dataplane_;
    std::unique_ptr<DataplaneTables> tables_;
    std::unique_ptr<Failover> failover_;
    std::vector<PortInfo> ports_;
    std::vector<LinkSource> link_source_;  // as ports_
    std::vector<netlink::IfIndex> leg_ifindex_;
    std::optional<netlink::Requests> requests_;
    std::unique_ptr<netlink::Mirror> mirror_;
    netlink::LinkdownRules linkdown_;
    std::unique_ptr<KernelRoutes> routes_;
    RouteFeed feed_;
    std::chrono::steady_clock::time_point last_audit_{};
    std::unique_ptr<NatLog> nat_log_;  // null where none is configured
    std::unique_ptr<NatStatus> nat_status_;
    NatDrain nat_drain_;
    std::vector<PoolConfig> had_blocks_;  // see note_blocks()
    StatusSources status_;
    std::unique_ptr<RpcServer> rpc_;
    bool running_ = false;   // the workers are
    bool stale_ = false;     // the world has changed since the last compile
    bool view_stale_ = false;  // and so has what Linux says
    std::uint64_t ticks_ = 0;
    std::uint64_t seen_by_workers_ = 0;  // of Failover::publications(), when IKE was let go last
    std::uint64_t ike_released_ = 0;
};

}  // namespace twinspan

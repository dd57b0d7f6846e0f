// How the daemon comes up, in the order in which parts need each other, and how it goes.
#include "control/daemon.hpp"
#include "control/daemon_tables.hpp"
#include "control/log.hpp"
#include "control/model/topology.hpp"
#include "control/nat/nat_kept.hpp"
#include "control/netlink/xfrm_requests.hpp"
#include "control/rpc/commands.hpp"
#include "control/shared_ports.hpp"
#include "crypto/self_test.hpp"
#include "crypto/usage.hpp"
#include "dataplane/io/ike_hold.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace twinspan {
namespace {

constexpr std::uint32_t kFewestSessions = 1024;  // a NAT table without pools

DataplaneOptions options_of(const Config& config) {
    DataplaneOptions options;
    options.name = config.name;
    options.runtime_directory = kRunDirectory;
    options.hugepages = config.dpdk.hugepages;
    options.memory_mib = config.dpdk.memory_mib;
    options.workers = config.workers.count;
    options.cpus = config.workers.cpus;
    options.sleep_when_idle = config.workers.idle == IdlePolicy::sleep;
    options.punts_per_second = config.limits.punt_pps;
    options.icmp_errors_per_second = config.limits.icmp_errors_pps;
    options.buffers = config.dpdk.buffers;
    options.nat_sessions = std::max(config.nat_sessions(), kFewestSessions);
    options.nat_events = config.nat_log ? wanted_events(*config.nat_log) : 0;
    options.keep_nat = true;  // without a pool, too: a reload may bring one
    options.nat_saved = config.state_dir / "nat-sessions";
    options.max_routes4 = config.limits.routes_ipv4;
    options.max_routes6 = config.limits.routes_ipv6;
    options.eal_args = config.dpdk.args;
    for (const PortConfig& port : config.ports) {
        options.max_mtu = std::max(options.max_mtu, port.mtu);
    }
    for (const LegConfig& leg : config.legs) {
        options.max_mtu = std::max(options.max_mtu, leg.mtu);
    }
    return options;
}

std::unexpected<Error> with(const std::string& what, const std::string& why) {
    return std::unexpected(Error{what + ": " + why});
}

}  // namespace

Daemon::Daemon(ConfigFile file) : config_file_(std::move(file.name)), config_text_(std::move(file.text)) {
    world_.config = std::move(file.config);
    world_.sas.resize(world_.config.tunnels.size());
    UsageCounter::set_workers(world_.config.workers.count);
}

Daemon::~Daemon() {
    rpc_.reset();
    mirror_.reset();
    xfrm_.reset();
    failover_.reset();
    dataplane_.reset();  // the workers end here: nobody uses an SA any more
    if (sas_) {
        sas_->close();
    }
}

Result<std::unique_ptr<Daemon>> Daemon::start(ConfigFile file, std::vector<SaFile> sa_files) {
    std::unique_ptr<Daemon> daemon{new Daemon(std::move(file))};
    Daemon& d = *daemon;
    // The data plane first: it holds the instance's name, and a second daemon must not get at the state directory.
    Result<void> done = d.open_dataplane();
    const auto then = [&](auto&& step) {
        if (done) {
            done = step();
        }
    };
    then([&] { return d.open_sas(sa_files); });
    sa_files.clear();  // wipes the keys
    then([&] { return d.open_netdevs(); });
    then([&] { return d.bring_netdevs_up(); });
    then([&] { return d.open_mirror(); });
    then([&] { return d.open_socket(); });
    then([&] { return d.hold_ike(); });
    then([&]() -> Result<void> {
        d.failover_ = std::make_unique<Failover>(d.world_, *d.tables_, d.metrics_);
        auto first = d.failover_->first();
        return first ? d.dataplane_->start(std::move(*first)) : std::unexpected(first.error());
    });
    if (done) {
        tell_nat_kept(d.dataplane_->nat_kept(), !d.world_.config.pools.empty(), d.metrics_);
    }
    then([&] { return d.steer(); });
    if (!done) {
        return std::unexpected(done.error());
    }
    d.running_ = true;
    d.sas_->set_workers({[failover = d.failover_.get()](std::span<const std::size_t> tunnels) {
        const auto began = std::chrono::steady_clock::now();
        failover->sas_changed(tunnels);
        return std::chrono::steady_clock::now() - began;
    }, [dataplane = d.dataplane_.get()] { dataplane->synchronize(); }});
    d.status_.failover = d.failover_.get();
    d.status_.sas = d.sas_.get();
    d.status_.counters = d.dataplane_->counters();
    d.failover_->announce();
    d.resolve_neighbours();
    spdlog::info("twinspand {} runs as {}: {} ports, {} legs, {} tunnels, {} routes", TWINSPAN_VERSION,
                 d.world_.config.name, d.ports_.size(), d.world_.config.legs.size(), d.world_.config.tunnels.size(),
                 d.failover_->current_plan().fib.size());
    return daemon;
}

Result<void> Daemon::open_dataplane() {
    if (const auto adopted = adopt_addresses(world_.config); !adopted) {
        return adopted;
    }
    auto dataplane = Dataplane::create(options_of(world_.config));
    if (!dataplane) {
        return std::unexpected(dataplane.error());
    }
    dataplane_ = std::move(*dataplane);
    tables_ = std::make_unique<DataplaneTables>(*dataplane_);
    if (world_.config.nat_log) {
        const auto take = [dataplane = dataplane_.get()](std::size_t most,
                                                         const std::function<void(const NatEvent&)>& fn) {
            return dataplane->take_nat_events(most, fn);
        };
        nat_log_ = std::make_unique<NatLog>(*world_.config.nat_log, take, metrics_);
    }
    nat_status_ = std::make_unique<NatStatus>(world_.config.pools, dataplane_->nat(), [this](const NatEvent& event) {
        if (nat_log_) {
            nat_log_->add(event);
        }
    });
    world_.fib4 = dataplane_->fib4();
    world_.fib6 = dataplane_->fib6();
    for (const PortConfig& port : world_.config.ports) {
        auto info = dataplane_->add_port({port.name, port.device, port.mtu, port.shared});
        if (!info) {
            return std::unexpected(info.error());
        }
        if (info->blind_to_stripped_tags) {
            spdlog::warn(
                "port {}: {} takes VLAN tags off where the XDP program cannot see them; with VLANs on this port, "
                "turn that off (ethtool -K {} rxvlan off)",
                port.name, port.shared, port.shared);
        }
        world_.ports.push_back({.mac = info->mac, .up = true, .awaited = true});
        ports_.push_back(std::move(*info));
    }
    return {};
}

Result<void> Daemon::open_sas(const std::vector<SaFile>& files) {
    auto engine = Engine::create();
    if (!engine) {
        return with("IPsec-MB", engine.error());
    }
    if (const auto passed = self_test(*engine); !passed) {
        return with("cipher self-test", passed.error());
    }
    spdlog::info("ciphers: IPsec-MB, {}", engine->architecture());
    std::unique_ptr<netlink::XfrmKernel> kernel;
    const bool has_ike =
        std::ranges::any_of(world_.config.tunnels, [](const TunnelConfig& tunnel) { return tunnel.ike.has_value(); });
    if (has_ike) {
        auto requests = netlink::XfrmRequests::open();
        if (!requests) {
            return std::unexpected(requests.error());
        }
        kernel = std::make_unique<netlink::XfrmRequests>(std::move(*requests));
    }
    sas_ = std::make_unique<SaStore>(std::move(*engine), world_, metrics_, std::move(kernel));
    if (auto opened = sas_->open_static(files); !opened) {
        return opened;
    }
    return has_ike ? open_xfrm() : Result<void>{};
}

Result<void> Daemon::open_xfrm() {
    auto mirror = netlink::XfrmMirror::open(*sas_, [](std::string_view what) { spdlog::warn("SA mirror: {}", what); });
    if (!mirror) {
        return std::unexpected(mirror.error());
    }
    xfrm_ = std::move(*mirror);
    xfrm_->resync();  // a failure is named there, and tried again while the daemon runs
    return {};
}

// With XFRM alone: static SAs are there before anybody speaks of them.
Result<void> Daemon::hold_ike() {
    return !xfrm_ || dataplane_->ike().open() ? Result<void>{} : with("holding IKE", "no eventfd");
}

Result<void> Daemon::open_netdevs() {
    const std::vector<Leg> legs = make_legs(world_);
    const std::vector<Tunnel> tunnels = make_tunnels(world_, legs);
    for (const NetdevPlan& plan : netdev_plan(world_.config)) {
        NetdevSpec spec{.name = plan.name};
        if (plan.target.is_tunnel) {
            spec.kind = NetdevKind::tun;
            spec.mtu = tunnels[plan.target.index].inner_mtu;
        } else {
            spec.mac = legs[plan.target.index].mac;
            spec.mtu = legs[plan.target.index].mtu;
        }
        if (const auto index = dataplane_->add_netdev(spec); !index) {
            return std::unexpected(index.error());
        }
    }
    return {};
}

Result<void> Daemon::bring_netdevs_up() {
    auto requests = netlink::Requests::open();
    if (!requests) {
        return std::unexpected(requests.error());
    }
    requests_.emplace(std::move(*requests));
    leg_ifindex_.resize(world_.config.legs.size());
    for (std::size_t i = 0; i < leg_ifindex_.size(); ++i) {
        if (is_linux_leg(world_.config, world_.config.legs[i])) {
            const auto ifindex = netlink::Requests::index_of(world_.config.legs[i].netdev);
            if (!ifindex) {
                return std::unexpected(ifindex.error());
            }
            leg_ifindex_[i] = *ifindex;
        }
    }
    for (const NetdevPlan& netdev : netdev_plan(world_.config)) {
        if (const auto done = bring_up(netdev); !done) {
            return done;
        }
    }
    return {};
}

Result<void> Daemon::bring_up(const NetdevPlan& netdev) {
    const auto ifindex = netlink::Requests::index_of(netdev.name);
    if (!ifindex) {
        return std::unexpected(ifindex.error());
    }
    netlink::InterfaceSysctls sysctls;
    sysctls.forwarding = true;  // so that a packet that waits for its neighbour makes Linux ask, and sends it on
    sysctls.link_local = !netdev.target.is_tunnel;  // or Linux would send router solicitations through the tunnel
    sysctls.ipv6 = std::filesystem::exists("/proc/sys/net/ipv6");
    if (const auto set = netlink::set_sysctls(netdev.name, sysctls); !set) {
        spdlog::warn("{}: {}", netdev.name,
                     set.error().what);  // a read-only /proc/sys, in a container: the operator's business
    }
    if (const auto up = requests_->set_up(*ifindex, true); !up) {
        return up;
    }
    if (netdev.target.is_tunnel) {
        const auto& address = world_.config.tunnels[netdev.target.index].address;
        return address ? requests_->add_address(*ifindex, {IpAddress::from(address->address), address->length})
                       : Result<void>{};
    }
    leg_ifindex_[netdev.target.index] = *ifindex;
    for (const IpPrefix& address : addresses_of(world_.config.legs[netdev.target.index])) {
        if (const auto added = requests_->add_address(*ifindex, address); !added) {
            return added;
        }
    }
    return {};
}

Result<void> Daemon::open_mirror() {
    netlink::MirrorCallbacks callbacks;
    callbacks.on_changes = [this](const netlink::KernelState& state, const netlink::Changes& changes) {
        on_changes(state, changes);
    };
    callbacks.on_problem = [](std::string_view what) { spdlog::warn("mirror: {}", what); };
    callbacks.on_audit = [this](const netlink::AuditReport& report) { on_audit(report); };
    callbacks.on_foreign_device = [](std::string_view device, std::uint64_t routes) {
        if (device.empty()) {
            spdlog::info("more devices have routes of Linux's own; the next ones are counted, not named");
        } else {
            spdlog::info(
                "routes through {} are Linux's own and not followed, {} so far: no leg or tunnel has that name", device,
                routes);
        }
    };
    auto mirror = netlink::Mirror::open({}, std::move(callbacks));
    if (!mirror) {
        return std::unexpected(mirror.error());
    }
    mirror_ = std::move(*mirror);
    for (const NetdevPlan& netdev : netdev_plan(world_.config)) {
        mirror_->watch(netdev.name);
    }
    for (const PortInfo& port : ports_) {
        if (!port.kernel_netdev.empty()) {
            mirror_->watch(port.kernel_netdev);
        }
    }
    if (const auto synced = mirror_->resync(); !synced) {
        return synced;
    }
    link_source_.resize(ports_.size(), LinkSource::device);
    follow_kernel_links(mirror_->state());
    world_.kernel = read_kernel(mirror_->state());
    refresh_linkdown_rules();
    routes_ = std::make_unique<KernelRoutes>(mirror_->state(), &linkdown_);
    world_.routes = routes_.get();
    stale_ = view_stale_ = false;
    return {};
}

Result<void> Daemon::open_socket() {
    status_.ports = ports_;
    status_.port_stats = [this](std::uint16_t port) { return dataplane_->port_stats(port); };
    status_.steered = [this](std::uint16_t port) { return dataplane_->steered(port); };
    status_.nat = &dataplane_->nat();
    status_.nat_kept = &dataplane_->nat_kept();
    status_.nat_status = nat_status_.get();
    status_.nat_drain = &nat_drain_;
    status_.metrics = &metrics_;
    const std::filesystem::path path = std::filesystem::path{kRunDirectory} / (world_.config.name + ".sock");
    auto server = RpcServer::listen(path, [this](const nlohmann::json& request) {
        const auto drained = world_.drained;
        nlohmann::json reply =
            run_command(request, status_, *failover_, [this](bool only_check) { return reload(only_check); });
        stale_ |= world_.drained != drained;  // repaired already; a compile asks for what it needs besides
        return reply;
    });
    if (!server) {
        return std::unexpected(server.error());
    }
    rpc_ = std::move(*server);
    return {};
}

}  // namespace twinspan

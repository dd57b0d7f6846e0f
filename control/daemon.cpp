// The parts of the daemon while it runs: events in, compiles and repairs out. See daemon_start.cpp for how it comes up.
#include "control/daemon.hpp"

#include "control/daemon_tables.hpp"
#include "control/log.hpp"
#include "control/model/steering.hpp"
#include "control/worker_metrics.hpp"
#include "dataplane/base/descriptor.hpp"
#include "dataplane/io/ike_hold.hpp"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <map>
#include <string>
#include <system_error>

namespace twinspan {
namespace {

constexpr std::chrono::milliseconds kTick{10};  // also the longest that a change of routes waits
constexpr std::uint64_t kSaTicks = 5;  // 50 ms, as SaStore::tick() wants
constexpr std::uint64_t kResolveTicks = 100;  // 1 s, as Linux repeats its own requests
constexpr std::uint64_t kAuditTicks = 6000;  // 60 s: the mirrors against the kernel, one after the other
constexpr std::uint64_t kLinkTicks = 1000;  // 10 s after the start, a port without link has none
constexpr std::uint64_t kRefreshTicks = 3000;  // 30 s, as Linux' base_reachable_time

int make_timer() {
    const int fd = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    itimerspec spec{};
    spec.it_interval.tv_nsec = spec.it_value.tv_nsec = std::chrono::nanoseconds(kTick).count();
    ::timerfd_settime(fd, 0, &spec, nullptr);
    return fd;
}

int make_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

// 0: none.
std::uint32_t next_signal(int fd) {
    signalfd_siginfo info{};
    return ::read(fd, &info, sizeof info) == sizeof info ? info.ssi_signo : 0;
}

std::uint64_t seconds_since(std::chrono::steady_clock::time_point then) {
    const auto age = std::chrono::steady_clock::now() - then;
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(age).count());
}

std::size_t read_number(int fd) {
    std::uint64_t value = 0;
    return ::read(fd, &value, sizeof value) == sizeof value ? value : 0;
}

}  // namespace

Result<void> Daemon::run() {
    const Descriptor epoll{::epoll_create1(EPOLL_CLOEXEC)};
    const Descriptor timer{make_timer()};
    const Descriptor signals{make_signals()};
    // Served in this order: SAs first, since packets come on them as soon as they are agreed upon.
    enum Source : std::uint32_t { kSignals, kSas, kIke, kKernel, kRpc, kTimer, kSources };
    const std::array<int, kSources> fds{
        signals.get(), xfrm_ ? xfrm_->fd() : -1, dataplane_->ike().fd(), mirror_->fd(), rpc_->fd(), timer.get()};
    for (std::uint32_t source = 0; source < kSources; ++source) {
        epoll_event event{.events = EPOLLIN, .data = {.u32 = source}};
        if (fds[source] >= 0 && ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fds[source], &event) != 0) {
            return std::unexpected(Error{"epoll: " + std::system_category().message(errno)});
        }
    }
    for (;;) {
        std::array<epoll_event, kSources> events;
        const int n = ::epoll_wait(epoll.get(), events.data(), kSources, -1);
        std::array<bool, kSources> ready{};
        for (int i = 0; i < n; ++i) {
            ready[events[static_cast<std::size_t>(i)].data.u32] = true;
        }
        if (const std::uint32_t signal = ready[kSignals] ? next_signal(signals.get()) : 0; signal == SIGHUP) {
            [[maybe_unused]] const auto told = reload(false);  // the log has it all
        } else if (signal != 0) {
            spdlog::info("twinspand ends");
            return {};
        }
        if (ready[kSas] || ready[kIke]) {
            if (const auto done = follow_sas(); !done) {
                return done;
            }
        }
        if (ready[kKernel]) {
            if (const auto done = mirror_->on_readable(); !done) {
                return done;
            }
        }
        if (ready[kRpc]) {
            rpc_->on_readable();
        }
        if (ready[kTimer] && read_number(timer.get()) != 0) {
            tick();
        }
    }
}

// IKE's packets may leave when the workers have what Linux had as they were sent: they are counted first.
Result<void> Daemon::follow_sas() {
    const std::uint64_t asked = dataplane_->ike().asked();
    if (auto done = xfrm_->on_readable(); !done || xfrm_->behind() || sas_->waiting() || asked == ike_released_) {
        return done;
    }
    if (seen_by_workers_ != failover_->publications()) {
        dataplane_->synchronize();
        seen_by_workers_ = failover_->publications();
    }
    dataplane_->ike().release(asked);
    ike_released_ = asked;
    return {};
}

void Daemon::on_changes(const netlink::KernelState& state, const netlink::Changes& changes) {
    const bool view = !changes.links.empty() || !changes.addresses.empty() || !changes.neighbours.empty();
    stale_ |= view;
    view_stale_ |= view;
    if (running_) {
        feed_.add(changes.prefixes, mirror_->batch_began());
    }
    if (running_ && !changes.neighbours.empty()) {
        follow_neighbours(state, changes.neighbours);
    }
    if (running_ && !changes.links.empty()) {
        follow_kernel_links(state);
        compile_if_due();
    }
}

// The repair comes before anything else that the event means.
void Daemon::follow_kernel_links(const netlink::KernelState& state) {
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        const netlink::LinkEvent* link =
            ports_[i].kernel_netdev.empty() ? nullptr : state.link(ports_[i].kernel_netdev);
        LinkSource& source = link_source_[i];
        if (link == nullptr && source == LinkSource::kernel) {
            spdlog::error("port {}: netdev {} is gone, and the port stays down until a restart",
                          world_.config.ports[i].name, ports_[i].kernel_netdev);
            source = LinkSource::gone;
        } else if (link != nullptr && source == LinkSource::device) {
            source = LinkSource::kernel;
        }
        if (source == LinkSource::device) {
            continue;
        }
        const bool up = source == LinkSource::kernel && link->up && link->carrier;
        if (running_) {
            stale_ |= failover_->port_changed(i, up);
        } else {
            world_.ports[i].up = up;
            world_.ports[i].awaited = !up;
        }
    }
}

// A neighbour that is only being asked for again is as it was.
void Daemon::follow_neighbours(const netlink::KernelState& state, const std::vector<netlink::NeighbourKey>& changed) {
    std::vector<Failover::NeighbourChange> changes;
    for (const netlink::NeighbourKey& key : changed) {
        const netlink::NeighbourEvent* neighbour = state.neighbour(key);
        const auto leg = std::ranges::find(leg_ifindex_, key.first);
        if (neighbour == nullptr || leg == leg_ifindex_.end()) {
            continue;
        }
        const bool failed = neighbour->state == netlink::NeighbourState::failed;
        if (failed || neighbour->usable) {
            changes.push_back({{static_cast<std::uint16_t>(leg - leg_ifindex_.begin()), key.second}, failed});
        }
    }
    failover_->neighbours_changed(changes);
}

bool Daemon::refresh_linkdown_rules() {
    std::map<netlink::IfIndex, std::string> interfaces;
    mirror_->state().for_each_link(
        [&](const netlink::LinkEvent& link) { interfaces.emplace(link.ifindex, link.name); });
    return linkdown_.refresh(interfaces);
}

void Daemon::poll_links() {
    for (std::uint16_t i = 0; i < ports_.size(); ++i) {
        if (link_source_[i] == LinkSource::device) {
            stale_ |= failover_->port_changed(i, dataplane_->link_up(i));
        }
    }
}

void Daemon::compile_if_due() {
    if (!stale_) {
        return;
    }
    stale_ = false;
    if (view_stale_) {
        view_stale_ = false;
        world_.kernel = read_kernel(mirror_->state());
    }
    failover_->refresh();
    if (const auto steered = steer(); !steered) {
        spdlog::error("{}", steered.error().what);
    }
    resolve_neighbours();
}

// Linux's own addresses may change, and what is steered goes around them.
Result<void> Daemon::steer() {
    for (std::uint16_t i = 0; i < ports_.size(); ++i) {
        if (!world_.config.ports[i].shared.empty()) {
            if (auto done = dataplane_->steer(i, steering_of(world_, i)); !done) {
                return done;
            }
        }
    }
    return {};
}

// Some thousand prefixes at most, however many there are.
void Daemon::follow_routes() {
    const std::uint64_t before = failover_->publications();
    if (feed_.step(*failover_) && failover_->publications() != before) {
        resolve_neighbours();
    }
}

void Daemon::on_audit(const netlink::AuditReport& report) {
    last_audit_ = std::chrono::steady_clock::now();
    if (report.difference != 0) {
        spdlog::warn("audit: {} prefixes were not as the kernel has them, {} one of them; they are now",
                     report.difference, report.example->text());
    }
    spdlog::debug("audit: {} routes compared in {} ms", report.routes, report.took.count());
}

void Daemon::tick() {
    ++ticks_;
    poll_links();
    if (ticks_ == kLinkTicks) {
        failover_->await_ports_no_longer();
    }
    compile_if_due();
    follow_routes();
    dataplane_->reclaim();
    tick_nat();
    update_metrics();
    if (ticks_ % kSaTicks == 0) {
        tick_sas();
    } else {
        sas_->commit();
    }
    if (ticks_ % kAuditTicks == 0 && !mirror_->auditing()) {
        mirror_->request_audit();
    }
    if (xfrm_ && ticks_ % kAuditTicks == kAuditTicks / 2) {
        xfrm_->request_audit();
    }
    if (ticks_ % kResolveTicks == 0) {
        resolve_neighbours();
        if (refresh_linkdown_rules()) {
            failover_->recompile();
        }
    }
    if (ticks_ % kRefreshTicks == 0) {
        refresh_neighbours();
    }
}

void Daemon::tick_nat() {
    const auto now = std::chrono::steady_clock::now();
    dataplane_->date_nat();
    nat_status_->tick(now);
    if (nat_log_) {
        nat_log_->tick(now, std::chrono::system_clock::now());
    }
    tick_drain();
}

void Daemon::update_metrics() {
    const netlink::MirrorMetrics& mirror = mirror_->metrics();
    metrics_.set(Metric::mirror_messages, mirror.messages);
    metrics_.set(Metric::mirror_errors, mirror.errors);
    metrics_.set(Metric::mirror_overruns, mirror.overruns);
    metrics_.set(Metric::mirror_interruptions, mirror.interruptions);
    metrics_.set(Metric::mirror_resyncs, mirror.resyncs);
    metrics_.set(Metric::mirror_routes_ignored, mirror.routes_ignored);
    metrics_.set(Metric::mirror_truncated, mirror.truncated);
    metrics_.set(Metric::mirror_retries, mirror.retries);
    metrics_.set(Metric::mirror_routes, mirror_->state().routes().size());
    metrics_.set(Metric::mirror_audits, mirror.audits);
    metrics_.set(Metric::mirror_audit_difference, mirror.audit_difference);
    metrics_.set(Metric::mirror_audit_age_seconds, mirror.audits == 0 ? 0 : seconds_since(last_audit_));
    metrics_.set(Metric::mirror_lag_us, static_cast<std::uint64_t>(feed_.last_lag().count()));
    metrics_.set(Metric::mirror_lag_median_us, static_cast<std::uint64_t>(feed_.median_lag().count()));
    metrics_.set(Metric::mirror_waiting, feed_.waiting());
    metrics_.set(Metric::routes_refused, failover_->current_plan().refused.size());
    metrics_.set(Metric::routes_without_room, failover_->routes_without_room());
    set_worker_metrics(metrics_, status_.counters);
    metrics_.set(Metric::nat_log_ring_full, dataplane_->nat_events_lost());
    metrics_.set(Metric::nat_addresses_draining, nat_drain_.addresses());
    if (xfrm_) {
        const netlink::XfrmMetrics& xfrm = xfrm_->metrics();
        metrics_.set(Metric::xfrm_messages, xfrm.messages);
        metrics_.set(Metric::xfrm_errors, xfrm.errors);
        metrics_.set(Metric::xfrm_truncated, xfrm.truncated);
        metrics_.set(Metric::xfrm_overruns, xfrm.overruns);
        metrics_.set(Metric::xfrm_resyncs, xfrm.resyncs);
        metrics_.set(Metric::xfrm_audits, xfrm.audits);
        metrics_.set(Metric::xfrm_audit_difference, xfrm.audit_difference);
        metrics_.set(Metric::xfrm_audit_age_seconds, xfrm.audits == 0 ? 0 : seconds_since(xfrm.audited));
        metrics_.set(Metric::ike_overdue, dataplane_->ike().overdue().read());
    }
}

void Daemon::tick_sas() {
    sas_->tick();
    if (xfrm_) {
        if (sas_->wants_resync()) {
            xfrm_->request_resync();
        }
        xfrm_->tick();
    }
}

void Daemon::resolve_neighbours() {
    for (const WantedNeighbour& wanted : failover_->current_plan().wanted) {
        resolve(wanted.leg, wanted.address);
    }
}

// Linux does not see the packets that use its neighbours, so it has no reason to check them: this is one.
void Daemon::refresh_neighbours() {
    const Plan& plan = failover_->current_plan();
    for (const auto& [hop, egress] : plan.egress_of) {
        if (const auto gateway = gateway_of(plan, hop)) {
            resolve(hop.leg, *gateway);
        }
    }
    for (const TunnelPath& path : plan.paths) {
        if (path.gateway) {
            resolve(path.leg, *path.gateway);
        }
    }
}

void Daemon::resolve(std::uint16_t leg, const IpAddress& address) {
    if (!failover_->snapshot().legs[leg].up) {
        return;
    }
    // Linux takes "permanent" off an entry that it is asked to use (NTF_USE, since 5.16): what the operator set must
    // stay.
    const netlink::NeighbourEvent* known = mirror_->state().neighbour({leg_ifindex_[leg], address});
    if (known != nullptr &&
        (known->state == netlink::NeighbourState::permanent || known->state == netlink::NeighbourState::noarp)) {
        return;
    }
    if (const auto asked = requests_->resolve(leg_ifindex_[leg], address); !asked) {
        spdlog::debug("neighbour {} dev {}: {}", address.text(), world_.config.legs[leg].netdev, asked.error().what);
    }
}

}  // namespace twinspan

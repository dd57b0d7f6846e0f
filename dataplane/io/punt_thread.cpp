#include "dataplane/io/punt_thread.hpp"

#include "dataplane/io/eal.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <span>

namespace twinspan {
namespace {

constexpr int kEvents = 64;
constexpr unsigned kReadsPerNetdev = 64;  // then the others have their turn
// A worker makes no system call, so it cannot wake this thread: the rings are looked at this often. Control protocols
// come in small exchanges, so after one the pace is kept up for a while.
constexpr int kShortWaitUs = 100;
constexpr int kLongWaitUs = 1000;
constexpr unsigned kShortWaits = 1000;

}  // namespace

Result<std::unique_ptr<PuntThread>> PuntThread::create(const std::string& name, std::uint16_t workers,
                                                       rte_mempool* buffers) {
    std::unique_ptr<PuntThread> self{new PuntThread{buffers}};
    self->epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll_ < 0) {
        return std::unexpected(Error{std::string{"epoll for the netdevs: "} + std::strerror(errno)});
    }
    for (std::uint16_t w = 0; w < workers; ++w) {
        auto punted = make_packet_ring(name + "-punt-" + std::to_string(w), kRingSize);
        auto injected = make_packet_ring(name + "-inject-" + std::to_string(w), kRingSize);
        if (!punted || !injected) {
            return std::unexpected(!punted ? punted.error() : injected.error());
        }
        self->links_.push_back({std::move(*punted), std::move(*injected)});
    }
    return self;
}

PuntThread::~PuntThread() {
    stop();
    if (epoll_ >= 0) {
        close(epoll_);
    }
    for (WorkerLink& link : links_) {
        drain(*link.punted);
        drain(*link.injected);
    }
}

Result<std::uint16_t> PuntThread::add(const NetdevSpec& spec) {
    if (netdevs_.size() == kNone) {
        return std::unexpected(Error{"netdev " + spec.name + ": there are " + std::to_string(kNone) + " already"});
    }
    auto device = TunDevice::create(spec);
    if (!device) {
        return std::unexpected(device.error());
    }
    const auto index = static_cast<std::uint16_t>(netdevs_.size());
    epoll_event event{.events = EPOLLIN, .data = {.u32 = index}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, device->fd(), &event) != 0) {
        return std::unexpected(Error{"netdev " + spec.name + ": epoll: " + std::strerror(errno)});
    }
    netdevs_.push_back(std::move(*device));
    kinds_.push_back(spec.kind);
    return index;
}

void PuntThread::set_carrier(std::uint16_t netdev, bool up) const noexcept { netdevs_[netdev].set_carrier(up); }

void PuntThread::start() {
    const SignalsBlocked blocked;
    thread_ = std::thread{[this] { run(); }};
}

void PuntThread::stop() {
    stop_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) {
        thread_.join();
    }
}

void PuntThread::run() {
    const RegisteredThread registered{"twinspan-punt"};
    unsigned idle_rounds = 0;
    int wait_us = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
        const unsigned work = write_punted() + read_ready(wait_us) + inject_released();
        idle_rounds = work != 0 || !ike_.empty() ? 0 : idle_rounds + 1;
        wait_us = work != 0 ? 0 : idle_rounds < kShortWaits ? kShortWaitUs : kLongWaitUs;
    }
    while (!ike_.empty()) {
        inject(*ike_.take_unreleased());
    }
}

unsigned PuntThread::write_punted() noexcept {
    unsigned taken = 0;
    for (const WorkerLink& link : links_) {
        std::array<rte_mbuf*, kBurst> packets;
        const unsigned n =
            rte_ring_sc_dequeue_burst(link.punted.get(), reinterpret_cast<void**>(packets.data()), kBurst, nullptr);
        counters_->injected.add(n);
        for (unsigned i = 0; i < n; ++i) {
            write_one(*packets[i]);
        }
        taken += n;
    }
    return taken;
}

void PuntThread::write_one(rte_mbuf& m) noexcept {
    const std::uint16_t netdev = meta(m).netdev;
    // Refused: the netdev is down, has no carrier, or its backlog is full.
    if (netdev >= netdevs_.size() ||
        write(netdevs_[netdev].fd(), rte_pktmbuf_mtod(&m, const void*), m.data_len) != m.data_len) {
        drop(&m, Drop::kernel_refused);
        return;
    }
    counters_->punted.add(1);
    rte_pktmbuf_free(&m);
}

unsigned PuntThread::read_ready(int timeout_us) noexcept {
    std::array<epoll_event, kEvents> events;
    const timespec timeout{.tv_sec = 0, .tv_nsec = timeout_us * 1000L};
    const int ready = epoll_pwait2(epoll_, events.data(), kEvents, &timeout, nullptr);
    unsigned taken = 0;
    for (int i = 0; i < ready; ++i) {
        const auto netdev = static_cast<std::uint16_t>(events[static_cast<unsigned>(i)].data.u32);
        const unsigned n = read_netdev(netdev);
        if (n == 0 && (events[static_cast<unsigned>(i)].events & (EPOLLERR | EPOLLHUP)) != 0) {
            epoll_ctl(epoll_, EPOLL_CTL_DEL, netdevs_[netdev].fd(), nullptr);  // somebody deleted the netdev
        }
        taken += n;
    }
    return taken;
}

unsigned PuntThread::read_netdev(std::uint16_t netdev) noexcept {
    const int fd = netdevs_[netdev].fd();
    for (unsigned taken = 0; taken < kReadsPerNetdev; ++taken) {
        rte_mbuf* m = rte_pktmbuf_alloc(buffers_);
        const std::size_t room = m != nullptr ? rte_pktmbuf_tailroom(m) : discard_.size();
        const ssize_t got = read(fd, m != nullptr ? rte_pktmbuf_mtod(m, char*) : discard_.data(), room);
        if (got <= 0) {
            rte_pktmbuf_free(m);
            return taken;
        }
        counters_->rx.add(1);
        if (m == nullptr) {
            (*counters_)[Drop::no_mbuf].add(1);
            continue;
        }
        if (static_cast<std::size_t>(got) >= room) {  // cut off, for all we know
            drop(m, Drop::inject_bad_packet);
            continue;
        }
        m->data_len = static_cast<std::uint16_t>(got);
        m->pkt_len = m->data_len;
        take_from_linux(*m, netdev);
    }
    return kReadsPerNetdev;
}

void PuntThread::take_from_linux(rte_mbuf& m, std::uint16_t netdev) noexcept {
    PacketMeta& pm = meta(m);
    pm = {};
    pm.rx_leg = kNone;
    pm.zone = Zone::self;
    pm.flags = meta_flag::kInjected;
    pm.netdev = netdev;
    const std::span frame{rte_pktmbuf_mtod(&m, const std::uint8_t*), m.data_len};
    if (kinds_[netdev] != NetdevKind::tap || !ike_.wants(frame)) {
        inject(m);
        return;
    }
    if (ike_.full()) {
        inject(*ike_.take_unreleased());
    }
    ike_.hold(m, IkeHold::Clock::now());
}

unsigned PuntThread::inject_released() noexcept {
    if (ike_.empty()) {
        return 0;
    }
    unsigned taken = 0;
    const IkeHold::Clock::time_point now = IkeHold::Clock::now();
    while (rte_mbuf* m = ike_.take(now)) {
        inject(*m);
        ++taken;
    }
    return taken;
}

void PuntThread::inject(rte_mbuf& m) noexcept {
    if (rte_ring_sp_enqueue(links_[meta(m).netdev % links_.size()].injected.get(), &m) != 0) {
        drop(&m, Drop::inject_ring_full);
        return;
    }
    counters_->tx.add(1);
}

void PuntThread::drop(rte_mbuf* m, Drop reason) noexcept {
    (*counters_)[reason].add(1);
    rte_pktmbuf_free(m);
}

}  // namespace twinspan

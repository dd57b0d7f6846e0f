#include "dataplane/io/ike_hold.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/headers.hpp"

#include <sys/eventfd.h>

#include <cstring>

namespace twinspan {
namespace {

template <class T>
bool read_at(std::span<const std::uint8_t> bytes, std::size_t at, T& header) noexcept {
    if (bytes.size() < at + sizeof(T)) {
        return false;
    }
    std::memcpy(&header, bytes.data() + at, sizeof(T));
    return true;
}

// Where the UDP header begins; 0: it is none, or a later fragment.
std::size_t udp_at(std::span<const std::uint8_t> frame) noexcept {
    EthernetHeader ethernet;
    Ipv4Header v4;
    Ipv6Header v6;
    if (!read_at(frame, 0, ethernet)) {
        return 0;
    }
    if (ethernet.type == kEtherTypeIpv4 && read_at(frame, sizeof ethernet, v4)) {
        const bool udp = v4.protocol == +IpProtocol::udp && (v4.fragment.raw & kIpv4FragmentOffset.raw) == 0;
        return udp ? sizeof ethernet + v4.header_bytes() : 0;
    }
    if (ethernet.type == kEtherTypeIpv6 && read_at(frame, sizeof ethernet, v6)) {
        return v6.next_header == +IpProtocol::udp ? sizeof ethernet + sizeof v6 : 0;
    }
    return 0;
}

}  // namespace

bool IkeHold::open() noexcept {
    wake_ = Descriptor{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    return fd() >= 0;
}

std::uint64_t IkeHold::asked() noexcept {
    eventfd_t wakes = 0;
    ::eventfd_read(fd(), &wakes);
    return asked_.load(std::memory_order_acquire);
}

bool IkeHold::is_ike(std::span<const std::uint8_t> frame) noexcept {
    UdpHeader udp;
    const std::size_t at = udp_at(frame);
    return at != 0 && read_at(frame, at, udp) && (udp.src_port == kIkePort || udp.src_port == kNatTraversalPort);
}

void IkeHold::hold(rte_mbuf& m, Clock::time_point now) noexcept {
    const std::uint64_t number = held_so_far();
    ring_[number % kMost] = {&m, now + kLongest};
    asked_.store(number + 1, std::memory_order_release);
    ::eventfd_write(fd(), 1);
}

rte_mbuf* IkeHold::take(Clock::time_point now) noexcept {
    if (empty()) {
        return nullptr;
    }
    if (taken_ >= released_.load(std::memory_order_acquire)) {
        return now < ring_[taken_ % kMost].until ? nullptr : take_unreleased();
    }
    return ring_[taken_++ % kMost].packet;
}

rte_mbuf* IkeHold::take_unreleased() noexcept {
    overdue_.add(taken_ >= released_.load(std::memory_order_acquire) ? 1 : 0);
    return ring_[taken_++ % kMost].packet;
}

}  // namespace twinspan

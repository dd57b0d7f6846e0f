// What NAT follows of a TCP connection, and how long a session of any protocol may be idle (RFC 5382 section 5,
// RFC 7857 section 2).
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/headers.hpp"

#include <atomic>
#include <cstdint>

namespace twinspan {

// Bits of NatSession::tcp.
namespace nat_tcp {
inline constexpr std::uint8_t kAckOut = 1;  // the inside has acknowledged something
inline constexpr std::uint8_t kAckIn = 2;
inline constexpr std::uint8_t kFinOut = 4;
inline constexpr std::uint8_t kFinIn = 8;
inline constexpr std::uint8_t kResetOut = 16;  // and nothing else came from the inside since
inline constexpr std::uint8_t kResetIn = 32;

// Both sides have acknowledged: true after either handshake of RFC 9293 section 3.5, whoever began, and for a
// connection older than its session; a SYN, and a SYN with its answer alone, leave it half open.
constexpr bool opened(std::uint8_t state) noexcept {
    constexpr std::uint8_t both = kAckOut | kAckIn;
    return (state & both) == both;
}
constexpr bool closing(std::uint8_t state) noexcept {
    constexpr std::uint8_t fins = kFinOut | kFinIn;
    return (state & (kResetOut | kResetIn)) != 0 || (state & fins) == fins;
}
constexpr bool established(std::uint8_t state) noexcept { return opened(state) && !closing(state); }

namespace detail {
struct Side {
    std::uint8_t ack, fin, reset;
};
inline constexpr Side kOutbound{kAckOut, kFinOut, kResetOut};
inline constexpr Side kInbound{kAckIn, kFinIn, kResetIn};

// A reset that a stranger made up, or that fell outside the window, does not silence the side it names: when that side
// goes on, the connection is what it was (RFC 7857 section 2.2; no sequence numbers are kept to tell).
[[gnu::noinline]] inline bool change(std::atomic<std::uint8_t>& state, std::uint8_t tcp_flags, Side side) noexcept {
    constexpr auto kRelaxed = std::memory_order_relaxed;
    if ((tcp_flags & kTcpRst) != 0) {
        return (state.fetch_or(side.reset, kRelaxed) & side.reset) == 0;
    }
    if ((tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn && closing(state.load(kRelaxed))) {
        state.store(0, kRelaxed);  // the ports are used again (RFC 9293 section 3.6.1)
        return true;
    }
    state.fetch_and(static_cast<std::uint8_t>(~side.reset), kRelaxed);
    state.fetch_or(static_cast<std::uint8_t>(((tcp_flags & kTcpAck) != 0 ? side.ack : 0) |
                                             ((tcp_flags & kTcpFin) != 0 ? side.fin : 0)),
                   kRelaxed);
    return true;
}

inline bool track(std::atomic<std::uint8_t>& state, std::uint8_t tcp_flags, Side side) noexcept {
    const std::uint8_t known = state.load(std::memory_order_relaxed);
    const bool plain =
        (tcp_flags & (kTcpSyn | kTcpFin | kTcpRst)) == 0 && (known & (side.ack | side.reset)) == side.ack;
    return plain ? true : change(state, tcp_flags, side);
}
}  // namespace detail

// Packet path: a segment from the inside, or to it, has passed. False when it may not keep the session alive: resets
// that only answer what comes in would keep a dead one (RFC 7857 section 8); the first one starts the closing time.
inline bool track_outbound(std::atomic<std::uint8_t>& state, std::uint8_t tcp_flags) noexcept {
    return detail::track(state, tcp_flags, detail::kOutbound);
}
inline bool track_inbound(std::atomic<std::uint8_t>& state, std::uint8_t tcp_flags) noexcept {
    return detail::track(state, tcp_flags, detail::kInbound);
}
}  // namespace nat_tcp

// Coarse clocks of two workers may differ by a tick: a session can have been seen in the future.
constexpr bool nat_expired(std::uint32_t last_seen, std::uint32_t now, std::uint32_t timeout) noexcept {
    const auto idle = static_cast<std::int32_t>(now - last_seen);
    return idle > 0 && static_cast<std::uint32_t>(idle) > timeout;
}

// Seconds that a session may be idle.
inline std::uint32_t nat_timeout(std::uint8_t protocol, std::uint8_t tcp_state, const NatTimeouts& timeouts) noexcept {
    switch (protocol) {
        case +IpProtocol::tcp:
            return nat_tcp::closing(tcp_state)  ? timeouts.tcp_closing
                   : nat_tcp::opened(tcp_state) ? timeouts.tcp_established
                                                : timeouts.tcp_transitory;
        case +IpProtocol::udp:
            return timeouts.udp;
        case +IpProtocol::icmp:
            return timeouts.icmp;
        default:
            return timeouts.other;
    }
}

}  // namespace twinspan

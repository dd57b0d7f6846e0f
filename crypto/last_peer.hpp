// Where the newest authentic packet of an SA came from. Workers write it, control reads it; no one waits.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>

namespace twinspan {

// As it lies in the packet: an IPv4 address is the first four bytes, the rest are zero.
struct PeerAddress {
    std::array<std::uint8_t, 16> address{};
    std::uint16_t port_be = 0;
    bool ipv6 = false;
    friend bool operator==(const PeerAddress&, const PeerAddress&) = default;
};

// A sequence lock whose writers give up where another one writes: the next packet says it again.
class LastPeer {
public:
    // Worker. Costs three loads while the peer stays where it is.
    void note(const PeerAddress& from) noexcept {
        const Halves address = halves(from);
        const std::uint32_t port = port_word(from);
        std::uint64_t state = state_.load(std::memory_order_acquire);
        const bool same = static_cast<std::uint32_t>(state) == port && address == read();
        if (same || (state & kWriting) != 0 ||
            !state_.compare_exchange_strong(state, state | kWriting, std::memory_order_acq_rel)) [[likely]] {
            return;
        }
        address_[0].store(address[0], std::memory_order_release);
        address_[1].store(address[1], std::memory_order_release);
        state_.store((state & ~std::uint64_t{0xffff'ffff}) + kVersion + port, std::memory_order_release);
    }

    // Control. Empty: no packet yet, or one is just being noted.
    std::optional<PeerAddress> load() const noexcept {
        const std::uint64_t before = state_.load(std::memory_order_acquire);
        const Halves address = read();
        if (before == 0 || (before & kWriting) != 0 || state_.load(std::memory_order_relaxed) != before) {
            return std::nullopt;
        }
        PeerAddress from{.port_be = static_cast<std::uint16_t>(before), .ipv6 = (before & kIpv6) != 0};
        std::memcpy(from.address.data(), address.data(), from.address.size());
        return from;
    }

private:
    // state_: port in bits 0 to 15, then these, then how often it was written.
    static constexpr std::uint64_t kIpv6 = 1u << 16;
    static constexpr std::uint64_t kKnown = 1u << 17;
    static constexpr std::uint64_t kWriting = std::uint64_t{1} << 32;
    static constexpr std::uint64_t kVersion = std::uint64_t{1} << 33;
    using Halves = std::array<std::uint64_t, 2>;

    static Halves halves(const PeerAddress& from) noexcept {
        Halves words;
        std::memcpy(words.data(), from.address.data(), from.address.size());
        return words;
    }
    static std::uint32_t port_word(const PeerAddress& from) noexcept {
        return static_cast<std::uint32_t>(from.port_be | (from.ipv6 ? kIpv6 : 0) | kKnown);
    }
    // Acquire, so that a second look at the state cannot come before.
    Halves read() const noexcept {
        return {address_[0].load(std::memory_order_acquire), address_[1].load(std::memory_order_acquire)};
    }

    std::atomic<std::uint64_t> state_{0};
    std::array<std::atomic<std::uint64_t>, 2> address_{};
};

}  // namespace twinspan

// How many sessions or mappings use each port of each outside address, so that ports in use are known exactly at any
// moment: a port is in use while anything has it, however many remote endpoints it serves. All workers write, any
// thread reads.
#pragma once

#include "dataplane/base/endian.hpp"
#include "dataplane/state/nat_memory.hpp"
#include "dataplane/state/nat_usage.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace twinspan {

class NatMeter {
public:
    enum class Added : std::uint8_t { counted, not_metered, full };

    // For the first `addresses` that are used: each takes 192 KiB.
    NatMeter(const NatMemory& memory, std::uint32_t addresses)
        : slots_(memory, addresses), users_(memory, std::size_t{addresses} * kPorts), addresses_(addresses) {}

    // full: 255 have the port, and one more could not be counted; other ports serve.
    Added add(be32 address, NatProtocol protocol, std::uint32_t port) noexcept {
        const std::uint32_t slot = take_slot(address);
        if (slot == addresses_) {
            return Added::not_metered;
        }
        std::atomic<std::uint8_t>& users = users_of(slot, protocol, port);
        std::uint8_t n = users.load(std::memory_order_relaxed);
        do {
            if (n == kMostUsers) {
                return Added::full;
            }
        } while (!users.compare_exchange_weak(n, static_cast<std::uint8_t>(n + 1), std::memory_order_relaxed));
        if (n == 0) {
            slots_[slot].used[static_cast<std::size_t>(protocol)].fetch_add(1, std::memory_order_relaxed);
        }
        return Added::counted;
    }
    // What was counted.
    void remove(be32 address, NatProtocol protocol, std::uint32_t port) noexcept {
        const std::uint32_t slot = find_slot(address);
        if (users_of(slot, protocol, port).fetch_sub(1, std::memory_order_relaxed) == 1) {
            slots_[slot].used[static_cast<std::size_t>(protocol)].fetch_sub(1, std::memory_order_relaxed);
        }
    }
    // Ports in use; nothing for an address that is not metered though it has been used.
    std::optional<std::uint32_t> in_use(be32 address, NatProtocol protocol) const noexcept {
        const std::uint32_t slot = find_slot(address);
        if (slot != addresses_) {
            return slots_[slot].used[static_cast<std::size_t>(protocol)].load(std::memory_order_relaxed);
        }
        return full_.load(std::memory_order_relaxed) ? std::nullopt : std::optional{0u};
    }
    // Whether anything has one of `count` ports from `first` on. No, where the address is not metered.
    bool any_in_use(be32 address, std::uint32_t first, std::uint32_t count) const noexcept {
        const std::uint32_t slot = find_slot(address);
        if (slot == addresses_) {
            return false;
        }
        for (std::size_t protocol = 0; protocol < kNatPortProtocols; ++protocol) {
            const auto* users = &users_[slot * kPorts + protocol * 65536 + first];
            if (slots_[slot].used[protocol].load(std::memory_order_relaxed) != 0 &&
                std::any_of(users, users + count,
                            [](const auto& n) { return n.load(std::memory_order_relaxed) != 0; })) {
                return true;
            }
        }
        return false;
    }
    std::size_t memory_bytes() const noexcept { return slots_.bytes() + users_.bytes(); }

private:
    static constexpr std::size_t kPorts = kNatPortProtocols * 65536;
    static constexpr std::uint8_t kMostUsers = 255;
    static constexpr std::uint32_t kWindow = 32;  // slots from an address's home on, where it may be

    struct alignas(64) Slot {
        std::atomic<std::uint32_t> address;  // 0: free; never given back
        std::array<std::atomic<std::uint32_t>, kNatPortProtocols> used;
    };

    std::atomic<std::uint8_t>& users_of(std::uint32_t slot, NatProtocol protocol, std::uint32_t port) noexcept {
        return users_[slot * kPorts + static_cast<std::size_t>(protocol) * 65536 + port];
    }
    std::uint32_t home(be32 address) const noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{address.raw * 0x9e3779b9u} * addresses_ >> 32);
    }
    // addresses_: none.
    std::uint32_t find_slot(be32 address) const noexcept {
        for (std::uint32_t i = 0, slot = home(address); i < std::min(addresses_, kWindow); ++i) {
            const std::uint32_t there = slots_[slot].address.load(std::memory_order_relaxed);
            if (there == address.raw) {
                return slot;
            }
            if (there == 0) {
                break;
            }
            slot = slot + 1 == addresses_ ? 0 : slot + 1;
        }
        return addresses_;
    }
    std::uint32_t take_slot(be32 address) noexcept {
        for (std::uint32_t i = 0, slot = home(address); i < std::min(addresses_, kWindow); ++i) {
            std::uint32_t there = slots_[slot].address.load(std::memory_order_relaxed);
            if (there == 0 &&
                slots_[slot].address.compare_exchange_strong(there, address.raw, std::memory_order_relaxed)) {
                return slot;
            }
            if (there == address.raw) {
                return slot;
            }
            slot = slot + 1 == addresses_ ? 0 : slot + 1;
        }
        full_.store(true, std::memory_order_relaxed);
        return addresses_;
    }

    NatArray<Slot> slots_;
    NatArray<std::atomic<std::uint8_t>> users_;
    std::uint32_t addresses_;
    std::atomic<bool> full_{false};
};

}  // namespace twinspan

// From prefixes to 32-bit values, at 15 to 23 bytes an IPv4 prefix: a million of them are in several tables at once.
// IPv6 prefixes, which are fewer, take what a node of the standard library takes. One thread.
#pragma once

#include "dataplane/base/prefix.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace twinspan {

// Open addressing with linear probing; an entry that goes is filled from behind, so there are no tombstones.
class PrefixMap4 {
public:
    const std::uint32_t* find(std::uint32_t address, unsigned length) const noexcept {
        const std::size_t slot = find_slot(address, length);
        return slot == kNowhere ? nullptr : &slots_[slot].value;
    }
    std::uint32_t* find(std::uint32_t address, unsigned length) noexcept {
        const std::size_t slot = find_slot(address, length);
        return slot == kNowhere ? nullptr : &slots_[slot].value;
    }
    // True: it is new.
    bool insert_or_assign(std::uint32_t address, unsigned length, std::uint32_t value);
    bool erase(std::uint32_t address, unsigned length) noexcept;
    std::size_t size() const noexcept { return size_; }
    // How many prefixes have this length: look-ups of lengths that none has can be left out.
    std::uint32_t count(unsigned length) const noexcept { return counts_[length]; }
    // The longest prefix that covers this one, itself included, as its length and value.
    std::optional<std::pair<unsigned, std::uint32_t>> longest_match(std::uint32_t address,
                                                                    unsigned length) const noexcept;

    template <class F>  // f(address, length, value&); must not insert or erase
    void for_each(F&& f) {
        for (Slot& slot : slots_) {
            if (slot.length != kFree) {
                f(slot.address, unsigned{slot.length}, slot.value);
            }
        }
    }
    template <class F>  // f(address, length, value)
    void for_each(F&& f) const {
        for (const Slot& slot : slots_) {
            if (slot.length != kFree) {
                f(slot.address, unsigned{slot.length}, slot.value);
            }
        }
    }

private:
    static constexpr std::uint8_t kFree = 0xff;
    static constexpr std::size_t kNowhere = ~std::size_t{0};
    struct Slot {
        std::uint32_t address = 0;
        std::uint32_t value = 0;
        std::uint8_t length = kFree;
    };
    std::size_t home(std::uint32_t address, unsigned length) const noexcept {
        std::uint64_t h = ((std::uint64_t{address} << 8 | length) ^ salt_) * 0x9e3779b97f4a7c15u;
        h = (h ^ h >> 32) * 0xff51afd7ed558ccdu;
        return static_cast<std::size_t>((h >> 32) * slots_.size() >> 32);
    }
    std::size_t next(std::size_t slot) const noexcept { return slot + 1 == slots_.size() ? 0 : slot + 1; }
    std::size_t find_slot(std::uint32_t address, unsigned length) const noexcept;
    void grow();

    static std::uint64_t next_salt() noexcept;

    std::vector<Slot> slots_;
    // No two maps scatter alike. One that is filled in another's order would fill from the front, in one long chain.
    std::uint64_t salt_ = next_salt();
    std::size_t size_ = 0;
    std::array<std::uint32_t, 33> counts_{};
};

// Both families. Prefixes are networks: host bits are zero.
class PrefixMap {
public:
    const std::uint32_t* find(const IpPrefix& prefix) const noexcept;
    std::uint32_t* find(const IpPrefix& prefix) noexcept {
        return const_cast<std::uint32_t*>(std::as_const(*this).find(prefix));
    }
    bool insert_or_assign(const IpPrefix& prefix, std::uint32_t value);
    bool erase(const IpPrefix& prefix);
    std::size_t size() const noexcept { return v4_.size() + v6_.size(); }
    std::optional<std::pair<IpPrefix, std::uint32_t>> longest_match(const IpPrefix& prefix) const;
    bool has_length(IpFamily family, unsigned length) const noexcept {
        return family == IpFamily::v6 || v4_.count(length) != 0;
    }

    template <class F>  // f(const IpPrefix&, value&); must not insert or erase
    void for_each(IpFamily family, F&& f) {
        if (family == IpFamily::v4) {
            v4_.for_each([&](std::uint32_t address, unsigned length, std::uint32_t& value) {
                f(prefix4(address, length), value);
            });
            return;
        }
        for (auto& [prefix, value] : v6_) {
            f(prefix, value);
        }
    }
    template <class F>  // f(const IpPrefix&, value)
    void for_each(F&& f) const {
        v4_.for_each(
            [&](std::uint32_t address, unsigned length, std::uint32_t value) { f(prefix4(address, length), value); });
        for (const auto& [prefix, value] : v6_) {
            f(prefix, value);
        }
    }

private:
    static IpPrefix prefix4(std::uint32_t address, unsigned length) noexcept {
        return {IpAddress::from(to_be32(address)), static_cast<std::uint8_t>(length)};
    }
    PrefixMap4 v4_;
    std::unordered_map<IpPrefix, std::uint32_t> v6_;
};

}  // namespace twinspan

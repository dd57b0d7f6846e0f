// The groups that the packets of one burst fall into, wherever in the burst they stand.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <array>
#include <cstdint>
#include <type_traits>

namespace twinspan {

// A hash table for one burst: at most kBurst different keys. Group has a member `key`, and is trivial: no time goes
// into groups that no packet is in.
template <class Group>
    requires std::is_trivially_default_constructible_v<Group>
class BurstGroups {
public:
    BurstGroups() noexcept { slots_.fill(kEmpty); }

    // The number of the key's group; fill(group) writes the fields of one that was not there, but `key`. Where it lies:
    // a group that is copied here waits until its fields have left the store buffer, 40 cycles.
    template <class Fill>
    std::uint8_t find(std::uint32_t key, Fill&& fill) noexcept {
        std::size_t at = key % kSlots;
        while (slots_[at] != kEmpty && groups_[slots_[at]].key != key) {
            at = (at + 1) % kSlots;
        }
        if (slots_[at] == kEmpty) {
            slots_[at] = size_;
            groups_[size_].key = key;
            fill(groups_[size_++]);
        }
        return slots_[at];
    }
    Group& operator[](std::uint8_t i) noexcept { return groups_[i]; }
    Group* begin() noexcept { return groups_.data(); }
    Group* end() noexcept { return groups_.data() + size_; }
    std::uint8_t size() const noexcept { return size_; }

private:
    static constexpr std::size_t kSlots = 2 * kBurst;
    static constexpr std::uint8_t kEmpty = 0xff;
    std::array<std::uint8_t, kSlots> slots_;
    std::uint8_t size_ = 0;
    std::array<Group, kBurst> groups_;
};

}  // namespace twinspan

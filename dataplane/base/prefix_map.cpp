#include "dataplane/base/prefix_map.hpp"

#include <algorithm>
#include <atomic>

namespace twinspan {
namespace {

constexpr std::size_t kFirstSlots = 64;

constexpr std::uint32_t mask4(unsigned length) noexcept { return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length); }

}  // namespace

std::uint64_t PrefixMap4::next_salt() noexcept {
    static std::atomic<std::uint64_t> made{0};
    return (made.fetch_add(1, std::memory_order_relaxed) + 1) * 0xd1342543de82ef95u;
}

std::size_t PrefixMap4::find_slot(std::uint32_t address, unsigned length) const noexcept {
    if (counts_[length] == 0) {
        return kNowhere;
    }
    for (std::size_t slot = home(address, length); slots_[slot].length != kFree; slot = next(slot)) {
        if (slots_[slot].address == address && slots_[slot].length == length) {
            return slot;
        }
    }
    return kNowhere;
}

bool PrefixMap4::insert_or_assign(std::uint32_t address, unsigned length, std::uint32_t value) {
    if (std::uint32_t* known = find(address, length)) {
        *known = value;
        return false;
    }
    if ((size_ + 1) * 5 > slots_.size() * 4) {
        grow();
    }
    std::size_t slot = home(address, length);
    while (slots_[slot].length != kFree) {
        slot = next(slot);
    }
    slots_[slot] = {address, value, static_cast<std::uint8_t>(length)};
    ++size_;
    ++counts_[length];
    return true;
}

bool PrefixMap4::erase(std::uint32_t address, unsigned length) noexcept {
    std::size_t hole = find_slot(address, length);
    if (hole == kNowhere) {
        return false;
    }
    // Whoever would be found no longer across the hole moves into it, and leaves the next one.
    for (std::size_t slot = next(hole); slots_[slot].length != kFree; slot = next(slot)) {
        const std::size_t at_home = home(slots_[slot].address, slots_[slot].length);
        const bool reachable = hole < slot ? at_home > hole && at_home <= slot : at_home > hole || at_home <= slot;
        if (!reachable) {
            slots_[hole] = slots_[slot];
            hole = slot;
        }
    }
    slots_[hole].length = kFree;
    --size_;
    --counts_[length];
    return true;
}

std::optional<std::pair<unsigned, std::uint32_t>> PrefixMap4::longest_match(std::uint32_t address,
                                                                            unsigned length) const noexcept {
    for (unsigned l = length + 1; l-- > 0;) {
        if (const std::uint32_t* value = find(address & mask4(l), l)) {
            return std::pair{l, *value};
        }
    }
    return std::nullopt;
}

void PrefixMap4::grow() {
    std::vector<Slot> old(std::max(kFirstSlots, slots_.size() + slots_.size() / 2));
    old.swap(slots_);
    for (const Slot& from : old) {
        if (from.length == kFree) {
            continue;
        }
        std::size_t slot = home(from.address, from.length);
        while (slots_[slot].length != kFree) {
            slot = next(slot);
        }
        slots_[slot] = from;
    }
}

const std::uint32_t* PrefixMap::find(const IpPrefix& prefix) const noexcept {
    if (prefix.family() == IpFamily::v4) {
        return v4_.find(prefix.address.v4().host(), prefix.length);
    }
    const auto found = v6_.find(prefix);
    return found == v6_.end() ? nullptr : &found->second;
}

bool PrefixMap::insert_or_assign(const IpPrefix& prefix, std::uint32_t value) {
    return prefix.family() == IpFamily::v4 ? v4_.insert_or_assign(prefix.address.v4().host(), prefix.length, value)
                                           : v6_.insert_or_assign(prefix, value).second;
}

bool PrefixMap::erase(const IpPrefix& prefix) {
    return prefix.family() == IpFamily::v4 ? v4_.erase(prefix.address.v4().host(), prefix.length)
                                           : v6_.erase(prefix) != 0;
}

std::optional<std::pair<IpPrefix, std::uint32_t>> PrefixMap::longest_match(const IpPrefix& prefix) const {
    for (int length = prefix.length; length >= 0; --length) {
        if (!has_length(prefix.family(), static_cast<unsigned>(length))) {
            continue;
        }
        const IpPrefix shorter = IpPrefix{prefix.address, static_cast<std::uint8_t>(length)}.network();
        if (const std::uint32_t* value = find(shorter)) {
            return std::pair{shorter, *value};
        }
    }
    return std::nullopt;
}

}  // namespace twinspan

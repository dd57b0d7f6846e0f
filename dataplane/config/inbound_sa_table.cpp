#include "dataplane/config/tunnel.hpp"

#include <algorithm>
#include <bit>

namespace twinspan {

InboundSaTable::InboundSaTable(const std::vector<InboundSaEntry>& entries)
    : mask_(static_cast<std::uint32_t>(std::bit_ceil(std::max<std::size_t>(2 * entries.size(), 2)) - 1)),
      slots_(std::size_t{mask_} + 1) {
    for (const InboundSaEntry& entry : entries) {
        std::uint32_t i = slot(entry.spi);
        while (slots_[i].spi != 0) {
            i = (i + 1) & mask_;
        }
        slots_[i] = entry;
    }
}

}  // namespace twinspan

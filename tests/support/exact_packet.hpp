// A packet whose buffer ends where its data ends, so that AddressSanitizer sees the first byte read past it.
#pragma once

#include "dataplane/packet/meta.hpp"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <vector>

namespace twinspan::test {

class ExactPacket {
public:
    explicit ExactPacket(std::span<const std::uint8_t> bytes, std::size_t tailroom = 0)
        : storage_(static_cast<std::byte*>(::operator new(kBefore + bytes.size() + tailroom, kAlignment))),
          mbuf(*new (storage_.get()) rte_mbuf{}) {
        new (storage_.get() + sizeof(rte_mbuf)) PacketMeta{};
        mbuf.priv_size = sizeof(PacketMeta);
        mbuf.buf_addr = storage_.get() + sizeof(rte_mbuf) + sizeof(PacketMeta);
        mbuf.buf_len = static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + bytes.size() + tailroom);
        mbuf.data_off = RTE_PKTMBUF_HEADROOM;
        mbuf.data_len = static_cast<std::uint16_t>(bytes.size());
        mbuf.pkt_len = mbuf.data_len;
        mbuf.nb_segs = 1;
        rte_mbuf_refcnt_set(&mbuf, 1);
        std::ranges::copy(bytes, rte_pktmbuf_mtod(&mbuf, std::uint8_t*));
    }
    ExactPacket(const ExactPacket&) = delete;
    ExactPacket& operator=(const ExactPacket&) = delete;

    std::vector<std::uint8_t> bytes() const {
        const auto* first = rte_pktmbuf_mtod(&mbuf, const std::uint8_t*);
        return {first, first + mbuf.data_len};
    }
    PacketMeta& meta() { return twinspan::meta(mbuf); }

private:
    static constexpr std::size_t kBefore = sizeof(rte_mbuf) + sizeof(PacketMeta) + RTE_PKTMBUF_HEADROOM;
    static constexpr std::align_val_t kAlignment{RTE_CACHE_LINE_SIZE};
    struct Free {
        void operator()(std::byte* p) const noexcept { ::operator delete(p, kAlignment); }
    };
    std::unique_ptr<std::byte, Free> storage_;

public:
    rte_mbuf& mbuf;
};

}  // namespace twinspan::test

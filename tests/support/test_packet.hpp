// A packet that needs no EAL, no mempool and no huge pages: an mbuf laid over its own array,
// header first, then PacketMeta, then data, as in a real pool.
#pragma once

#include "dataplane/packet/meta.hpp"

#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <vector>

namespace twinspan::test {

class TestPacket {
public:
    static constexpr std::size_t kRoom = RTE_PKTMBUF_HEADROOM + 2048;

    explicit TestPacket(std::span<const std::uint8_t> bytes) : mbuf(*new (storage_.data()) rte_mbuf{}) {
        new (storage_.data() + sizeof(rte_mbuf)) PacketMeta{};
        mbuf.priv_size = sizeof(PacketMeta);
        mbuf.buf_addr = storage_.data() + sizeof(rte_mbuf) + sizeof(PacketMeta);
        mbuf.buf_len = kRoom;
        mbuf.nb_segs = 1;
        rte_mbuf_refcnt_set(&mbuf, 1);
        assign(bytes);
    }
    TestPacket(const TestPacket&) = delete;
    TestPacket& operator=(const TestPacket&) = delete;

    // Starts over with other bytes; meta stays.
    void assign(std::span<const std::uint8_t> bytes) {
        if (bytes.size() > kRoom - RTE_PKTMBUF_HEADROOM) {
            throw std::length_error("packet does not fit a test mbuf");
        }
        mbuf.data_off = RTE_PKTMBUF_HEADROOM;
        mbuf.data_len = static_cast<std::uint16_t>(bytes.size());
        mbuf.pkt_len = mbuf.data_len;
        std::ranges::copy(bytes, rte_pktmbuf_mtod(&mbuf, std::uint8_t*));
    }

    std::vector<std::uint8_t> bytes() const {
        const auto* first = rte_pktmbuf_mtod(&mbuf, const std::uint8_t*);
        return {first, first + mbuf.data_len};
    }

    PacketMeta& meta() { return twinspan::meta(mbuf); }

private:
    alignas(RTE_CACHE_LINE_SIZE) std::array<std::byte, sizeof(rte_mbuf) + sizeof(PacketMeta) + kRoom> storage_{};

public:
    rte_mbuf& mbuf;
};

}  // namespace twinspan::test

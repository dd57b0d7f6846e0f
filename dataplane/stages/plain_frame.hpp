// Parse's short way for the frames that nearly all are: untagged, to the leg's own address, with a plain IPv4 packet in
// one buffer. What it does not take, Parse looks at from the start; a frame means the same both ways.
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/batch.hpp"
#include "dataplane/packet/plain_ipv4.hpp"

#include <cstddef>
#include <cstring>

namespace twinspan {

// For one burst. Knows the leg of the port that the last frame came from, and counts what it takes. All of it stays in
// registers: nothing but inlined code sees an object of this class.
class PlainFrames {
public:
    explicit PlainFrames(const Snapshot& config) noexcept : config_(config) {}

    // True: parsed, and the data starts at the IP header.
    [[gnu::always_inline]] bool take(rte_mbuf& m, CountedRun& leg_rx) noexcept {
        if (m.port != port_) [[unlikely]] {
            count(leg_rx);
            port_ = m.port;
            leg_ = leg_of(config_, port_);
        }
        const auto* frame = rte_pktmbuf_mtod(&m, const std::uint8_t*);
        const std::uint32_t bytes = m.data_len;
        if (bytes < sizeof(EthernetHeader) + kPlainMinBytes || m.nb_segs != 1 ||
            (m.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 || (load<std::uint64_t>(frame) & kMacMask) != leg_.mac ||
            load<std::uint16_t>(frame + offsetof(EthernetHeader, type)) != kEtherTypeIpv4.raw) [[unlikely]] {
            return false;
        }
        PlainIpv4 ip;
        if (!parse_plain_ipv4(frame + sizeof(EthernetHeader), bytes - unsigned{sizeof(EthernetHeader)}, ip))
            [[unlikely]] {
            return false;
        }
        ++packets_;
        bytes_ += bytes;
        write_meta(meta(m), ip);
        m.data_off = static_cast<std::uint16_t>(m.data_off + sizeof(EthernetHeader));
        m.data_len = ip.length;  // without Ethernet's padding
        m.pkt_len = ip.length;
        return true;
    }

    // Once more after the last frame.
    [[gnu::always_inline]] void count(CountedRun& leg_rx) noexcept {
        if (packets_ != 0) {
            leg_rx.add(leg_.index, packets_, bytes_);
            packets_ = bytes_ = 0;
        }
    }

private:
    static constexpr std::uint64_t kMacMask = 0xffff'ffff'ffff;

    struct OneLeg {
        std::uint64_t mac = ~std::uint64_t{0};  // no frame's
        std::uint64_t fields = 0;  // of PacketMeta, those that are the same for every frame of the leg
        std::uint16_t index = kNone;
    };

    template <class T>
    static T load(const std::uint8_t* from) noexcept {
        T value;
        std::memcpy(&value, from, sizeof(value));
        return value;
    }

    static OneLeg leg_of(const Snapshot& config, std::uint16_t port) noexcept {
        OneLeg leg{.index = port < config.ports.size() ? config.ports[port].untagged : kNone};
        if (leg.index != kNone) {
            const Leg& of = config.legs[leg.index];
            leg.mac = 0;
            std::memcpy(&leg.mac, of.mac.data(), of.mac.size());
            leg.fields = leg.index | std::uint64_t{sizeof(EthernetHeader)} << 16 |
                         std::uint64_t{static_cast<std::uint8_t>(of.zone)} << 24 |
                         std::uint64_t{static_cast<std::uint8_t>(IpVersion::v4)} << 32 |
                         std::uint64_t{sizeof(Ipv4Header)} << 56;
        }
        return leg;
    }

    // All of Parse's fields, in two stores.
    [[gnu::always_inline]] void write_meta(PacketMeta& pm, const PlainIpv4& ip) const noexcept {
        static_assert(offsetof(PacketMeta, rx_leg) == 0 && offsetof(PacketMeta, l2_length) == 2 &&
                      offsetof(PacketMeta, zone) == 3 && offsetof(PacketMeta, ip) == 4 &&
                      offsetof(PacketMeta, protocol) == 5 && offsetof(PacketMeta, flags) == 6 &&
                      offsetof(PacketMeta, l4_offset) == 7 && offsetof(PacketMeta, l3_length) == 8 &&
                      offsetof(PacketMeta, src_port) == 10 && offsetof(PacketMeta, dst_port) == 12 &&
                      offsetof(PacketMeta, tunnel) == 14);
        const std::array<std::uint64_t, 2> fields{
            leg_.fields | std::uint64_t{ip.protocol} << 40,
            ip.length | std::uint64_t{ip.ports} << 16 | std::uint64_t{kNone} << 48,
        };
        std::memcpy(&pm, fields.data(), sizeof(fields));
    }

    const Snapshot& config_;
    OneLeg leg_;
    std::uint64_t packets_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint16_t port_ = kNone;
};

}  // namespace twinspan

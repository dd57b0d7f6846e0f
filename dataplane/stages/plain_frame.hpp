// Parse's short way for the frames that nearly all are: untagged, to the leg's own address, with a plain IPv4 packet in
// one buffer. What it does not take, Parse looks at from the start; a frame means the same both ways.
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/batch.hpp"
#include "dataplane/packet/plain_ipv4.hpp"

#include <cstddef>
#include <cstring>

namespace twinspan {

// For one burst. Knows the leg of the port that the last frame came from.
class PlainFrames {
public:
    explicit PlainFrames(const Snapshot& config) noexcept : config_(config) {}

    // True: parsed, and the data starts at the IP header.
    [[gnu::always_inline]] bool take(rte_mbuf& m, CountedRun& leg_rx) noexcept {
        if (m.port != port_) [[unlikely]] {
            come_to(m.port);
        }
        const auto* frame = rte_pktmbuf_mtod(&m, const std::uint8_t*);
        if (m.data_len < sizeof(EthernetHeader) + kPlainMinBytes || m.nb_segs != 1 ||
            (m.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 || (load<std::uint64_t>(frame) & kMacMask) != mac_ ||
            load<std::uint16_t>(frame + offsetof(EthernetHeader, type)) != kEtherTypeIpv4.raw) [[unlikely]] {
            return false;
        }
        PlainIpv4 ip;
        if (!parse_plain_ipv4(frame + sizeof(EthernetHeader), m.data_len - unsigned{sizeof(EthernetHeader)}, ip))
            [[unlikely]] {
            return false;
        }
        leg_rx.add(leg_, m.pkt_len);
        write_meta(meta(m), ip);
        m.data_off = static_cast<std::uint16_t>(m.data_off + sizeof(EthernetHeader));
        m.data_len = ip.length;  // without Ethernet's padding
        m.pkt_len = ip.length;
        return true;
    }

private:
    static constexpr std::uint64_t kMacMask = 0xffff'ffff'ffff;

    template <class T>
    static T load(const std::uint8_t* from) noexcept {
        T value;
        std::memcpy(&value, from, sizeof(value));
        return value;
    }

    void come_to(std::uint16_t port) noexcept {
        port_ = port;
        leg_ = port < config_.ports.size() ? config_.ports[port].untagged : kNone;
        mac_ = ~std::uint64_t{0};  // no frame's
        if (leg_ != kNone) {
            const Leg& leg = config_.legs[leg_];
            mac_ = 0;
            std::memcpy(&mac_, leg.mac.data(), leg.mac.size());
            first_ = leg_ | std::uint64_t{sizeof(EthernetHeader)} << 16 |
                     std::uint64_t{static_cast<std::uint8_t>(leg.zone)} << 24 |
                     std::uint64_t{static_cast<std::uint8_t>(IpVersion::v4)} << 32 |
                     std::uint64_t{sizeof(Ipv4Header)} << 56;
        }
    }

    // All of Parse's fields, in two stores.
    void write_meta(PacketMeta& pm, const PlainIpv4& ip) const noexcept {
        static_assert(offsetof(PacketMeta, rx_leg) == 0 && offsetof(PacketMeta, l2_length) == 2 &&
                      offsetof(PacketMeta, zone) == 3 && offsetof(PacketMeta, ip) == 4 &&
                      offsetof(PacketMeta, protocol) == 5 && offsetof(PacketMeta, flags) == 6 &&
                      offsetof(PacketMeta, l4_offset) == 7 && offsetof(PacketMeta, l3_length) == 8 &&
                      offsetof(PacketMeta, src_port) == 10 && offsetof(PacketMeta, dst_port) == 12 &&
                      offsetof(PacketMeta, tunnel) == 14);
        const std::array<std::uint64_t, 2> fields{
            first_ | std::uint64_t{ip.protocol} << 40,
            ip.length | std::uint64_t{ip.ports} << 16 | std::uint64_t{kNone} << 48,
        };
        std::memcpy(&pm, fields.data(), sizeof(fields));
    }

    const Snapshot& config_;
    std::uint64_t mac_ = ~std::uint64_t{0};
    std::uint64_t first_ = 0;  // the fields that are the same for every frame of the leg
    std::uint16_t port_ = 0xffff;
    std::uint16_t leg_ = kNone;
};

}  // namespace twinspan

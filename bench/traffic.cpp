#include "bench/traffic.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/parse_ip.hpp"

#include <cstring>

namespace twinspan::bench {
namespace {

constexpr MacAddress kSender{0x02, 0x00, 0x00, 0x00, 0x0f, 0x01};
constexpr unsigned kUdpAt = sizeof(EthernetHeader) + sizeof(Ipv4Header);

std::uint32_t sum_words(const void* data, unsigned bytes) noexcept {
    std::uint32_t sum = 0;
    for (unsigned i = 0; i < bytes; i += 2) {
        std::uint16_t word;
        std::memcpy(&word, static_cast<const char*>(data) + i, 2);
        sum += word;
    }
    return sum;
}

}  // namespace

SizePattern fixed_size(std::uint16_t bytes) { return {bytes}; }
SizePattern imix() { return {64, 570, 64, 64, 570, 64, 1420, 64, 570, 64, 64, 570}; }

FlowSource::FlowSource(rte_mempool* pool, std::uint16_t port, const MacAddress& to, const std::vector<Flow>& flows,
                       const SizePattern& sizes)
    : pool_(pool), port_(port) {
    for (const std::uint16_t bytes : sizes) {
        Template t{.head = {}, .bytes = bytes};
        const auto ip_bytes = static_cast<std::uint16_t>(bytes - sizeof(EthernetHeader));
        const EthernetHeader ethernet{.dst = to, .src = kSender, .type = kEtherTypeIpv4};
        const Ipv4Header ip{.version_ihl = 0x45,
                            .tos = 0,
                            .total_length = to_be16(ip_bytes),
                            .id = {},
                            .fragment = kIpv4DontFragment,
                            .ttl = 64,
                            .protocol = +IpProtocol::udp,
                            .checksum = {},
                            .src = {},
                            .dst = {}};
        // Nothing on the path verifies the UDP checksum, but zero would spare NAT the work of keeping it.
        const UdpHeader udp{.src_port = {},
                            .dst_port = {},
                            .length = to_be16(static_cast<std::uint16_t>(ip_bytes - sizeof(Ipv4Header))),
                            .checksum = to_be16(0x1234)};
        std::memcpy(t.head.data(), &ethernet, sizeof(ethernet));
        std::memcpy(t.head.data() + sizeof(ethernet), &ip, sizeof(ip));
        std::memcpy(t.head.data() + kUdpAt, &udp, sizeof(udp));
        templates_.push_back(t);
    }
    const auto* ip = reinterpret_cast<const Ipv4Header*>(templates_[0].head.data() + sizeof(EthernetHeader));
    const std::uint32_t fixed = sum_words(ip, sizeof(Ipv4Header)) - ip->total_length.raw;
    for (const Flow& flow : flows) {
        records_.push_back({flow, fixed + sum_words(&flow.src, 4) + sum_words(&flow.dst, 4)});
    }
}

void FlowSource::write(rte_mbuf& m, const Template& shape, const Record& record) const noexcept {
    auto* frame = rte_pktmbuf_mtod(&m, std::uint8_t*);
    std::memcpy(frame, shape.head.data(), shape.head.size());
    auto& ip = *reinterpret_cast<Ipv4Header*>(frame + sizeof(EthernetHeader));
    auto& udp = *reinterpret_cast<UdpHeader*>(frame + kUdpAt);
    ip.src = record.flow.src;
    ip.dst = record.flow.dst;
    udp.src_port = record.flow.src_port;
    udp.dst_port = record.flow.dst_port;
    std::uint32_t sum = record.header_sum + ip.total_length.raw;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    ip.checksum.raw = static_cast<std::uint16_t>(~sum);
    m.data_len = shape.bytes;
    m.pkt_len = shape.bytes;
    m.port = port_;
}

std::uint16_t FlowSource::take(rte_mbuf** out, std::uint16_t n) noexcept {
    if (rte_pktmbuf_alloc_bulk(pool_, out, n) != 0) {
        return 0;
    }
    for (std::uint16_t i = 0; i < n; ++i) {
        write(*out[i], templates_[next_size_], records_[next_flow_]);
        next_flow_ = next_flow_ + 1 == records_.size() ? 0 : next_flow_ + 1;
        next_size_ = next_size_ + 1 == templates_.size() ? 0 : next_size_ + 1;
    }
    return n;
}

SealedSource::SealedSource(FlowSource flows, const Snapshot& peer, Engine& engine, std::uint16_t port)
    : flows_(std::move(flows)), port_(port), ctx_(new Context{}) {
    ctx_->config = &peer;
    ctx_->counters = &counters_;
    ctx_->crypto = &engine;
}

std::uint16_t SealedSource::take(rte_mbuf** out, std::uint16_t n) noexcept {
    const std::size_t first = flows_.next_flow();
    batch_.resize(flows_.take(batch_.data(), n));
    for (std::uint16_t i = 0; i < batch_.size(); ++i) {
        rte_mbuf& m = *batch_[i];
        PacketMeta& pm = meta(m);
        rte_pktmbuf_adj(&m, sizeof(EthernetHeader));
        pm.flags = 0;
        if (!parse_ip(m, pm).kept()) {
            return 0;
        }
        pm.tunnel = flows_.flow((first + i) % flows_.flows()).tunnel;
    }
    esp_out_.process(*ctx_, batch_);
    l2_rewrite_.process(*ctx_, batch_);
    auto& sealed = ctx_->transmit[0];
    const std::uint16_t count = sealed.size();
    for (std::uint16_t i = 0; i < count; ++i) {
        out[i] = sealed[i];
        out[i]->port = port_;
    }
    sealed.clear();
    return count;
}

}  // namespace twinspan::bench

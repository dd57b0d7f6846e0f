// The checksums of an IPv4 packet as what is left over when all that they cover is summed up: 0 when they are right. An
// update of fields and checksum keeps it, right or wrong (RFC 1624).
#pragma once

#include "dataplane/base/endian.hpp"
#include "dataplane/packet/headers.hpp"
#include "tests/support/checksum.hpp"
#include "tests/support/packet_builder.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <span>

namespace twinspan::test {

inline void require(bool condition, std::source_location where = std::source_location::current()) {
    if (!condition) {
        std::fprintf(stderr, "%s:%u does not hold\n", where.file_name(), static_cast<unsigned>(where.line()));
        std::abort();
    }
}

class PacketSums {
public:
    using View = std::span<const std::uint8_t>;

    // At least 20 bytes. `quoted`: in an ICMP error, where its end may be missing.
    explicit PacketSums(View packet, bool quoted = false) : packet_(packet), quoted_(quoted) {
        header_bytes_ = std::min<std::size_t>((packet_[0] & 15u) * 4u, packet_.size());
        const std::size_t total = std::max<std::size_t>(get16(2), header_bytes_);
        l4_ = packet_.first(std::min(total, packet_.size())).subspan(header_bytes_);
    }

    bool whole() const { return get16(2) >= header_bytes_ && get16(2) <= packet_.size(); }
    be32 source() const { return address(12); }
    be32 destination() const { return address(16); }
    std::uint8_t protocol() const { return packet_[9]; }
    bool is_piece() const { return (get16(6) & 0x3fff) != 0; }
    bool is_error() const {
        return protocol() == +IpProtocol::icmp && !is_piece() && l4_.size() >= 8 + 20 &&
               (l4_[0] == 3 || l4_[0] == 11 || l4_[0] == 12);
    }

    std::uint16_t header() const { return rest_of(ones_sum(packet_.first(header_bytes_))); }
    std::uint16_t transport() const {
        const std::uint64_t all = ones_sum(l4_);
        switch (protocol()) {
            case +IpProtocol::tcp:
            case +IpProtocol::udp:
                return has_no_checksum() ? std::uint16_t{0}
                                         : rest_of(all + ones_sum(packet_.subspan(12, 8)) + protocol() + l4_.size());
            case 33:
            case 136:  // UDP-Lite covers what it says, which the sum of all does not know; it is kept all the same
                return rest_of(all + (l4_.size() >= 8 ? ones_sum(packet_.subspan(12, 8)) : 0));
            default:
                return rest_of(all);
        }
    }

    bool all_right() const {
        const bool known =
            protocol() == +IpProtocol::tcp || protocol() == +IpProtocol::udp || protocol() == +IpProtocol::icmp;
        return header() == 0 && (is_piece() || !known || transport() == 0);
    }

    // This one was made of the other by translation alone.
    bool as_good_as(const PacketSums& other) const {
        if (protocol() != other.protocol() || header() != other.header()) {
            return false;
        }
        if (is_piece() || other.is_piece()) {
            return true;
        }
        const bool has_sum = protocol() != +IpProtocol::udp || has_no_checksum() == other.has_no_checksum();
        if (!has_sum || (covers_transport() && transport() != other.transport())) {
            return false;
        }
        return !is_error() || quotation().as_good_as(other.quotation());
    }

private:
    // A multiple of 0xffff is what a right checksum leaves; ones_sum() of all, folded.
    static std::uint16_t rest_of(std::uint64_t sum) { return static_cast<std::uint16_t>(sum % 0xffff); }

    PacketSums quotation() const { return PacketSums{l4_.subspan(8), true}; }
    bool has_no_checksum() const {
        return protocol() == +IpProtocol::udp && l4_.size() >= 8 && l4_[6] == 0 && l4_[7] == 0;
    }
    bool covers_transport() const { return !(quoted_ && protocol() == +IpProtocol::tcp && l4_.size() < 18); }
    std::uint16_t get16(std::size_t at) const { return static_cast<std::uint16_t>(packet_[at] << 8 | packet_[at + 1]); }
    be32 address(std::size_t at) const {
        be32 value{};
        __builtin_memcpy(&value, &packet_[at], sizeof(value));
        return value;
    }

    View packet_, l4_;
    std::size_t header_bytes_ = 20;
    bool quoted_;
};

// Makes the checksums of an IPv4 packet right: the header's, and that of TCP, UDP and ICMP.
inline void set_checksums(Bytes& packet) {
    const auto put = [&packet](std::size_t at, std::uint16_t value) {
        packet[at] = static_cast<std::uint8_t>(value >> 8);
        packet[at + 1] = static_cast<std::uint8_t>(value);
    };
    const std::size_t l4 = (packet[0] & 15u) * 4u;
    put(10, 0);
    put(10, internet_checksum(std::span{packet}.first(l4)));
    const std::size_t size = packet.size() - l4;
    const std::size_t at = packet[9] == +IpProtocol::tcp ? 16 : packet[9] == +IpProtocol::udp ? 6 : 2;
    const bool known = packet[9] == +IpProtocol::tcp || packet[9] == +IpProtocol::udp || packet[9] == +IpProtocol::icmp;
    if (!known || size < at + 2 || ((packet[6] & 0x3f) | packet[7]) != 0 ||
        (packet[9] == +IpProtocol::udp && (packet[l4 + 6] | packet[l4 + 7]) == 0)) {
        return;
    }
    put(l4 + at, 0);
    const auto segment = std::span<const std::uint8_t>{packet}.subspan(l4);
    const std::uint16_t sum = packet[9] == +IpProtocol::icmp
                                  ? internet_checksum(segment)
                                  : transport_checksum(std::span{packet}.subspan(12, 8), packet[9], segment);
    put(l4 + at, packet[9] == +IpProtocol::udp && sum == 0 ? std::uint16_t{0xffff} : sum);
}

}  // namespace twinspan::test

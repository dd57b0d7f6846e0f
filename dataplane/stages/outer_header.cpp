#include "dataplane/stages/outer_header.hpp"

namespace twinspan {
namespace {

// Four sums side by side keep the adds from waiting for each other; each takes the carries of 32-bit words.
std::uint64_t sum_words(const std::uint8_t* bytes, std::size_t count) noexcept {
    std::array<std::uint64_t, 4> sums{};
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        std::array<std::uint32_t, 4> words;
        std::memcpy(words.data(), bytes + i, sizeof words);
        for (std::size_t k = 0; k < 4; ++k) {
            sums[k] += words[k];
        }
    }
    std::array<std::uint32_t, 4> rest{};  // an odd byte counts as if a zero followed (RFC 1071 section 4.1)
    std::memcpy(rest.data(), bytes + i, count - i);
    return sums[0] + sums[1] + sums[2] + sums[3] + rest[0] + rest[1] + rest[2] + rest[3];
}

}  // namespace

void set_udp_checksum(std::uint8_t* ipv6, std::size_t udp_bytes) noexcept {
    std::uint8_t* udp = ipv6 + sizeof(Ipv6Header);
    std::uint64_t sum = sum_words(ipv6 + offsetof(Ipv6Header, src), 2 * sizeof(Ipv6Address)) +
                        sum_words(udp, udp_bytes) + to_be16(+IpProtocol::udp).raw +
                        to_be16(static_cast<std::uint16_t>(udp_bytes)).raw;
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    const auto checksum = static_cast<std::uint16_t>(~fold_checksum(static_cast<std::uint32_t>(sum)));
    const std::uint16_t sent = checksum == 0 ? 0xffff : checksum;  // zero would say that there is none (RFC 768)
    std::memcpy(udp + offsetof(UdpHeader, checksum), &sent, sizeof sent);
}

}  // namespace twinspan

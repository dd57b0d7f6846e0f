#include "dataplane/base/prefix.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace twinspan {

Result<IpAddress> IpAddress::parse(std::string_view text) {
    const std::string terminated(text);
    IpAddress a;
    a.family = text.find(':') == std::string_view::npos ? IpFamily::v4 : IpFamily::v6;
    if (inet_pton(a.is_v4() ? AF_INET : AF_INET6, terminated.c_str(), a.bytes.data()) != 1 ||
        text.size() != std::strlen(terminated.c_str())) {
        return std::unexpected(Error{"not an IPv4 or IPv6 address: '" + terminated + "'"});
    }
    return a;
}

std::string IpAddress::text() const {
    std::array<char, INET6_ADDRSTRLEN> out{};
    inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes.data(), out.data(), out.size());
    return out.data();
}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
    const std::size_t slash = text.find('/');
    const Result<IpAddress> address = IpAddress::parse(text.substr(0, slash));
    if (!address) {
        return std::unexpected(address.error());
    }
    if (slash == std::string_view::npos) {
        return host(*address);
    }
    const std::string_view digits = text.substr(slash + 1);
    unsigned length = 0;
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (failure != std::errc{} || end != digits.data() + digits.size() || length > address_bits(address->family)) {
        return std::unexpected(Error{"not a prefix length of 0 to " + std::to_string(address_bits(address->family)) +
                                     ": '" + std::string(text) + "'"});
    }
    return IpPrefix{*address, static_cast<std::uint8_t>(length)};
}

std::string IpPrefix::text() const { return address.text() + "/" + std::to_string(length); }

}  // namespace twinspan

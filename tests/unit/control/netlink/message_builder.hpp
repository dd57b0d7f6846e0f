// Builds rtnetlink messages byte by byte, with nothing of the code under test and nothing of libmnl.
#pragma once

#include "dataplane/base/prefix.hpp"

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace twinspan::netlink::test {

class MessageBuilder {
public:
    template <class Fixed>
    MessageBuilder(std::uint16_t type, const Fixed& fixed, std::uint16_t flags = 0) {
        nlmsghdr header{};
        header.nlmsg_type = type;
        header.nlmsg_flags = flags;
        append(&header, sizeof header);
        append(&fixed, sizeof fixed);
        pad();
    }

    MessageBuilder& raw(std::uint16_t type, const void* data, std::size_t size) {
        const nlattr head{static_cast<std::uint16_t>(sizeof(nlattr) + size), type};
        append(&head, sizeof head);
        append(data, size);
        pad();
        return *this;
    }
    template <class T>
        requires std::is_arithmetic_v<T>
    MessageBuilder& attr(std::uint16_t type, T value) {
        return raw(type, &value, sizeof value);
    }
    MessageBuilder& attr(std::uint16_t type, const IpAddress& a) {
        return raw(type, a.bytes.data(), a.is_v4() ? 4u : 16u);
    }
    MessageBuilder& attr(std::uint16_t type, const MacAddress& mac) { return raw(type, mac.data(), mac.size()); }
    MessageBuilder& attr(std::uint16_t type, const std::string& text) {
        return raw(type, text.c_str(), text.size() + 1);
    }
    MessageBuilder& attr(std::uint16_t type, const std::vector<std::byte>& bytes) {
        return raw(type, bytes.data(), bytes.size());
    }

    // With the length filled in. The copy has no room to spare: a sanitizer sees any read past it.
    std::vector<std::byte> bytes() const {
        std::vector<std::byte> copy = bytes_;
        const auto length = static_cast<std::uint32_t>(copy.size());
        std::memcpy(copy.data(), &length, sizeof length);
        copy.shrink_to_fit();
        return copy;
    }

private:
    void append(const void* data, std::size_t size) {
        const auto* from = static_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), from, from + size);
    }
    void pad() { bytes_.resize((bytes_.size() + 3) / 4 * 4); }

    std::vector<std::byte> bytes_;
};

inline IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
inline IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }

}  // namespace twinspan::netlink::test

// Reads netlink's fixed structures and type-length-value attributes out of bytes that nobody vouches for.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/base/prefix.hpp"

#include <linux/netlink.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace twinspan::netlink {

using Bytes = std::span<const std::byte>;

inline std::unexpected<Error> malformed(std::string what) { return std::unexpected(Error{std::move(what)}); }

// Netlink pads everything to four bytes.
constexpr std::size_t padded(std::size_t length) noexcept { return (length + 3) & ~std::size_t{3}; }

// `bytes` holds at least sizeof(T); any alignment.
template <class T>
    requires std::is_trivially_copyable_v<T>
T load(Bytes bytes) noexcept {
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

struct Attribute {
    std::uint16_t type = 0;  // without the nested and byte-order flags
    Bytes value;
};

// Calls visit(Attribute) -> Result<void> for each; stops at the first error. A length that is too small or goes past
// the end is an error; up to three bytes of padding at the end are not.
template <class Visit>
Result<void> for_each_attribute(Bytes bytes, Visit&& visit) {
    while (bytes.size() >= sizeof(nlattr)) {
        const auto head = load<nlattr>(bytes);
        if (head.nla_len < sizeof(nlattr) || head.nla_len > bytes.size()) {
            return malformed("attribute " + std::to_string(head.nla_type & NLA_TYPE_MASK) + " says " +
                             std::to_string(head.nla_len) + " bytes, " + std::to_string(bytes.size()) + " are left");
        }
        const auto type = static_cast<std::uint16_t>(head.nla_type & NLA_TYPE_MASK);
        if (Result<void> seen = visit(Attribute{type, bytes.subspan(sizeof(nlattr), head.nla_len - sizeof(nlattr))});
            !seen) {
            return seen;
        }
        bytes = bytes.subspan(std::min(padded(head.nla_len), bytes.size()));
    }
    if (!bytes.empty()) {
        return malformed(std::to_string(bytes.size()) + " bytes after the last attribute");
    }
    return {};
}

// The attribute's value is exactly one T.
template <class T>
Result<T> number(const Attribute& attribute) {
    if (attribute.value.size() != sizeof(T)) {
        return malformed("attribute " + std::to_string(attribute.type) + " has " +
                         std::to_string(attribute.value.size()) + " bytes, not " + std::to_string(sizeof(T)));
    }
    return load<T>(attribute.value);
}

template <class T>
Result<void> read_number(const Attribute& attribute, T& out) {
    const Result<T> value = number<T>(attribute);
    if (!value) {
        return std::unexpected(value.error());
    }
    out = *value;
    return {};
}

// An address of the family, in exactly its length.
inline Result<IpAddress> address_of(const Attribute& attribute, IpFamily family) {
    const std::size_t want = address_bits(family) / 8;
    if (attribute.value.size() != want) {
        return malformed("attribute " + std::to_string(attribute.type) + " has " +
                         std::to_string(attribute.value.size()) + " bytes, an address has " + std::to_string(want));
    }
    IpAddress address{family, {}};
    std::memcpy(address.bytes.data(), attribute.value.data(), want);
    return address;
}

// Text up to its zero byte or the attribute's end.
inline std::string text_of(const Attribute& attribute) {
    const std::string_view all(reinterpret_cast<const char*>(attribute.value.data()), attribute.value.size());
    return std::string(all.substr(0, all.find('\0')));
}

}  // namespace twinspan::netlink

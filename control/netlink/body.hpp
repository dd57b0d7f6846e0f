// What every rtnetlink decoder starts with: the fixed part of the message, new or deleted, and the attributes after it.
#pragma once

#include "control/netlink/attributes.hpp"
#include "control/netlink/decode.hpp"

#include <linux/neighbour.h>
#include <sys/socket.h>

#include <optional>

namespace twinspan::netlink {

template <class T>
struct Body {
    T fixed;
    Bytes attributes;
    std::uint16_t flags;
    bool deleted;
};

template <class T>
Result<Body<T>> read_body(Message message, std::uint16_t new_type, std::uint16_t delete_type) {
    const Result<MessageHeader> header = decode_header(message);
    if (!header) {
        return std::unexpected(header.error());
    }
    if (header->type != new_type && header->type != delete_type) {
        return malformed("netlink message of type " + std::to_string(header->type) + " where " +
                         std::to_string(new_type) + " or " + std::to_string(delete_type) + " is due");
    }
    const Bytes body = message.subspan(sizeof(nlmsghdr), header->length - sizeof(nlmsghdr));
    if (body.size() < sizeof(T)) {
        return malformed("netlink message of type " + std::to_string(header->type) + " has a body of " +
                         std::to_string(body.size()) + " bytes, not " + std::to_string(sizeof(T)));
    }
    const Bytes attributes = body.subspan(std::min(padded(sizeof(T)), body.size()));
    return Body<T>{load<T>(body), attributes, header->flags, header->type == delete_type};
}

inline std::optional<IpFamily> ip_family(std::uint8_t af) noexcept {
    return af == AF_INET ? std::optional(IpFamily::v4) : af == AF_INET6 ? std::optional(IpFamily::v6) : std::nullopt;
}

inline Result<void> read_address(const Attribute& attribute, IpFamily family, std::optional<IpAddress>& out) {
    const Result<IpAddress> address = address_of(attribute, family);
    if (!address) {
        return std::unexpected(address.error());
    }
    out = *address;
    return {};
}

// A proxy entry says for whom Linux answers; it is no neighbour.
inline bool is_proxy(Message message, const MessageHeader& header) noexcept {
    return header.length >= sizeof(nlmsghdr) + sizeof(ndmsg) &&
           (load<ndmsg>(message.subspan(sizeof(nlmsghdr))).ndm_flags & NTF_PROXY) != 0;
}

}  // namespace twinspan::netlink

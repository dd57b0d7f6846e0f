// IPFIX messages (RFC 7011) with NAT events in them (RFC 8158): bytes only, no sockets and no clock.
#pragma once

#include "dataplane/state/nat_events.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace twinspan::ipfix {

inline constexpr std::size_t kHeaderBytes = 16;
inline constexpr std::size_t kLeastMessage = 484;  // UDP over a path of unknown MTU (RFC 7011 section 10.3.3), IPv4

// natEvent (IANA IPFIX registry, information element 230).
enum class NatEventCode : std::uint8_t {
    addresses_exhausted = 3,
    session_create = 4,
    session_delete = 5,
    bib_create = 8,
    bib_delete = 9,
    ports_exhausted = 12,
    quota_exceeded = 13,
    port_block_allocation = 16,
    port_block_deallocation = 17,
    threshold = 18,
};

struct Field {
    std::uint16_t element;  // all of IANA's: no enterprise numbers
    std::uint16_t bytes;
};

struct Template {
    std::uint16_t id;  // 256 or more
    std::span<const Field> fields;
};

// All that records of ours may need.
std::span<const Template> templates() noexcept;
std::size_t template_set_bytes() noexcept;
const Template& template_of(NatEventKind kind) noexcept;
std::size_t record_bytes(NatEventKind kind) noexcept;

// One message that is being written, used again and again.
class Message {
public:
    // `most`: bytes of a message, header included; at least kLeastMessage.
    explicit Message(std::size_t most);

    void add_templates();  // first of all
    // false: no room. `event.time` is in milliseconds since 1970.
    bool add(const NatEvent& event);

    bool empty() const noexcept { return bytes_.size() == kHeaderBytes; }
    std::uint32_t records() const noexcept { return records_; }
    // Completes the header. `sequence`: data records before this message, of this stream and domain.
    std::span<const std::uint8_t> finish(std::uint32_t export_seconds, std::uint32_t sequence, std::uint32_t domain);
    void clear() noexcept;
    void limit(std::size_t most);  // of an empty one

private:
    void put(std::uint64_t value, std::size_t bytes);
    void put_at(std::size_t place, std::uint64_t value, std::size_t bytes) noexcept;
    void end_set() noexcept;

    std::size_t most_ = 0;
    std::vector<std::uint8_t> bytes_;
    std::size_t set_ = 0;  // where the open one begins; 0: none
    std::uint16_t set_id_ = 0;
    std::uint32_t records_ = 0;
};

}  // namespace twinspan::ipfix

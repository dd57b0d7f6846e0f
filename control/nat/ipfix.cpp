#include "control/nat/ipfix.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace twinspan::ipfix {
namespace {

constexpr std::uint16_t kVersion = 10;
constexpr std::uint16_t kTemplateSet = 2;
constexpr std::size_t kSetHeaderBytes = 4;

namespace element {  // IANA IPFIX registry
constexpr Field kProtocol{4, 1};
constexpr Field kSourcePort{7, 2};
constexpr Field kSourceAddress{8, 4};
constexpr Field kDestinationPort{11, 2};
constexpr Field kDestinationAddress{12, 4};
constexpr Field kPostNatSourceAddress{225, 4};
constexpr Field kPostNatDestinationAddress{226, 4};
constexpr Field kPostNaptSourcePort{227, 2};
constexpr Field kPostNaptDestinationPort{228, 2};
constexpr Field kNatEvent{230, 1};
constexpr Field kNatPoolId{283, 4};
constexpr Field kTimeMs{323, 8};
constexpr Field kPortRangeStart{361, 2};
constexpr Field kPortRangeEnd{362, 2};
constexpr Field kPortRangeStep{363, 2};
constexpr Field kPortRangePorts{364, 2};
constexpr Field kQuotaExceededEvent{466, 4};
constexpr Field kThresholdEvent{467, 4};
constexpr Field kMaxSessionEntries{471, 4};
constexpr Field kMaxEntriesPerUser{473, 4};
constexpr Field kPoolHighThreshold{476, 4};
constexpr Field kPoolLowThreshold{477, 4};
}  // namespace element

// RFC 8158 section 5.6. What concerns one pool says which.
constexpr Field kSession[] = {element::kTimeMs,
                              element::kNatEvent,
                              element::kNatPoolId,
                              element::kProtocol,
                              element::kSourceAddress,
                              element::kPostNatSourceAddress,
                              element::kSourcePort,
                              element::kPostNaptSourcePort,
                              element::kDestinationAddress,
                              element::kPostNatDestinationAddress,
                              element::kDestinationPort,
                              element::kPostNaptDestinationPort};
constexpr Field kMapping[] = {element::kTimeMs,     element::kNatEvent,          element::kNatPoolId,
                              element::kProtocol,   element::kSourceAddress,     element::kPostNatSourceAddress,
                              element::kSourcePort, element::kPostNaptSourcePort};
constexpr Field kAddressesExhausted[] = {element::kTimeMs, element::kNatEvent, element::kNatPoolId};
constexpr Field kPortsExhausted[] = {element::kTimeMs, element::kNatEvent, element::kNatPoolId,
                                     element::kPostNatSourceAddress, element::kProtocol};
constexpr Field kSessionsExhausted[] = {element::kTimeMs, element::kNatEvent, element::kQuotaExceededEvent,
                                        element::kMaxSessionEntries};
constexpr Field kHostQuota[] = {element::kTimeMs,
                                element::kNatEvent,
                                element::kNatPoolId,
                                element::kQuotaExceededEvent,
                                element::kMaxEntriesPerUser,
                                element::kSourceAddress};
constexpr Field kHighWater[] = {element::kTimeMs, element::kNatEvent, element::kThresholdEvent, element::kNatPoolId,
                                element::kPoolHighThreshold};
constexpr Field kLowWater[] = {element::kTimeMs, element::kNatEvent, element::kThresholdEvent, element::kNatPoolId,
                               element::kPoolLowThreshold};
constexpr Field kBlock[] = {element::kTimeMs,
                            element::kNatEvent,
                            element::kNatPoolId,
                            element::kSourceAddress,
                            element::kPostNatSourceAddress,
                            element::kPortRangeStart,
                            element::kPortRangeEnd,
                            element::kPortRangeStep,
                            element::kPortRangePorts};

enum Kind : std::uint8_t { session, mapping, addresses, ports, sessions, host, high, low, block };
constexpr auto kTemplates = std::to_array<Template>({
    {256, kSession},
    {257, kMapping},
    {258, kAddressesExhausted},
    {259, kPortsExhausted},
    {260, kSessionsExhausted},
    {261, kHostQuota},
    {262, kHighWater},
    {263, kLowWater},
    {264, kBlock},
});

struct KindInfo {
    Kind form;
    NatEventCode code;
    std::uint32_t detail;  // natQuotaExceededEvent or natThresholdEvent
};
constexpr std::array<KindInfo, kNatEventKinds> kKinds{{
    {session, NatEventCode::session_create, 0},
    {session, NatEventCode::session_delete, 0},
    {mapping, NatEventCode::bib_create, 0},
    {mapping, NatEventCode::bib_delete, 0},
    {addresses, NatEventCode::addresses_exhausted, 0},
    {ports, NatEventCode::ports_exhausted, 0},
    {sessions, NatEventCode::quota_exceeded, 1},  // maximum session entries
    {host, NatEventCode::quota_exceeded, 3},      // maximum entries per user
    {high, NatEventCode::threshold, 1},           // address pool high threshold
    {low, NatEventCode::threshold, 2},            // address pool low threshold
    {block, NatEventCode::port_block_allocation, 0},
    {block, NatEventCode::port_block_deallocation, 0},
}};

const KindInfo& info(NatEventKind kind) noexcept { return kKinds[static_cast<std::size_t>(kind)]; }

constexpr std::size_t bytes_of(std::span<const Field> fields) noexcept {
    return std::accumulate(fields.begin(), fields.end(), std::size_t{0},
                           [](std::size_t sum, const Field& field) { return sum + field.bytes; });
}

std::uint64_t value_of(const NatEvent& event, std::uint16_t element) noexcept {
    const KindInfo& kind = info(event.kind);
    const std::uint16_t first = event.outside.port().host();
    switch (element) {
        case element::kTimeMs.element:
            return event.time;
        case element::kNatEvent.element:
            return static_cast<std::uint64_t>(kind.code);
        case element::kNatPoolId.element:
            return event.inside.pool() + 1u;  // 0 would be none
        case element::kProtocol.element:
            return event.inside.protocol() != 0 ? event.inside.protocol() : event.outside.protocol();
        case element::kSourceAddress.element:
            return event.inside.address().host();
        case element::kSourcePort.element:
            return event.inside.port().host();
        case element::kDestinationAddress.element:
            return event.inside.remote().host();
        case element::kDestinationPort.element:
            return event.inside.remote_port().host();
        case element::kPostNatSourceAddress.element:
            return event.outside.address().host();
        case element::kPostNaptSourcePort.element:
        case element::kPortRangeStart.element:
            return first;
        case element::kPostNatDestinationAddress.element:
            return event.outside.remote().host();
        case element::kPostNaptDestinationPort.element:
            return event.outside.remote_port().host();
        case element::kPortRangeEnd.element:
            return first + event.value - 1u;
        case element::kPortRangeStep.element:
            return 1;
        case element::kQuotaExceededEvent.element:
        case element::kThresholdEvent.element:
            return kind.detail;
        default:  // the ports of a block, and what a limit or a mark is
            return event.value;
    }
}

}  // namespace

std::span<const Template> templates() noexcept { return kTemplates; }

std::size_t template_set_bytes() noexcept {
    std::size_t sum = kSetHeaderBytes;
    for (const Template& t : kTemplates) {
        sum += 4 + 4 * t.fields.size();
    }
    return sum;
}

const Template& template_of(NatEventKind kind) noexcept { return kTemplates[info(kind).form]; }
std::size_t record_bytes(NatEventKind kind) noexcept { return bytes_of(template_of(kind).fields); }

Message::Message(std::size_t most) {
    limit(most);
    clear();
}

void Message::limit(std::size_t most) {
    most_ = std::clamp<std::size_t>(most, kLeastMessage, 0xffff);
    bytes_.reserve(most_);
}

void Message::clear() noexcept {
    bytes_.assign(kHeaderBytes, 0);  // within what is reserved
    set_ = 0;
    set_id_ = 0;
    records_ = 0;
}

void Message::put(std::uint64_t value, std::size_t bytes) {
    bytes_.resize(bytes_.size() + bytes);
    put_at(bytes_.size() - bytes, value, bytes);
}

void Message::put_at(std::size_t place, std::uint64_t value, std::size_t bytes) noexcept {
    for (std::size_t i = bytes; i-- > 0; value >>= 8) {
        bytes_[place + i] = static_cast<std::uint8_t>(value);
    }
}

void Message::end_set() noexcept {
    if (set_ != 0) {
        put_at(set_ + 2, bytes_.size() - set_, 2);
        set_ = 0;
        set_id_ = 0;
    }
}

void Message::add_templates() {
    end_set();
    set_ = bytes_.size();
    put(kTemplateSet, 2);
    put(0, 2);
    for (const Template& t : kTemplates) {
        put(t.id, 2);
        put(t.fields.size(), 2);
        for (const Field& field : t.fields) {
            put(field.element, 2);
            put(field.bytes, 2);
        }
    }
    end_set();
}

bool Message::add(const NatEvent& event) {
    const Template& form = template_of(event.kind);
    const std::size_t needed = bytes_of(form.fields) + (set_id_ == form.id ? 0 : kSetHeaderBytes);
    if (bytes_.size() + needed > most_) {
        return false;
    }
    if (set_id_ != form.id) {
        end_set();
        set_ = bytes_.size();
        set_id_ = form.id;
        put(form.id, 2);
        put(0, 2);
    }
    for (const Field& field : form.fields) {
        put(value_of(event, field.element), field.bytes);
    }
    ++records_;
    return true;
}

std::span<const std::uint8_t> Message::finish(std::uint32_t export_seconds, std::uint32_t sequence,
                                              std::uint32_t domain) {
    end_set();
    put_at(0, kVersion, 2);
    put_at(2, bytes_.size(), 2);
    put_at(4, export_seconds, 4);
    put_at(8, sequence, 4);
    put_at(12, domain, 4);
    return bytes_;
}

}  // namespace twinspan::ipfix

#include "control/netlink/xfrm_decode.hpp"

#include "control/netlink/body.hpp"
#include "control/netlink/xfrm_algorithms.hpp"

#include <linux/in.h>
#include <linux/udp.h>
#include <linux/xfrm.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <utility>

namespace twinspan::netlink {

namespace {

constexpr std::uint16_t kSaDirectionAttribute = 33;  // XFRMA_SA_DIR, since Linux 6.10

Result<IpAddress> to_address(const xfrm_address_t& raw, std::uint16_t af) {
    const auto family = af <= 0xff ? ip_family(static_cast<std::uint8_t>(af)) : std::nullopt;
    if (!family) {
        return malformed("XFRM message of address family " + std::to_string(af));
    }
    IpAddress address{*family, {}};
    std::memcpy(address.bytes.data(), &raw, address_bits(*family) / 8);
    return address;
}

Result<SaId> to_id(const xfrm_address_t& destination, be32 spi, std::uint16_t af) {
    const auto address = to_address(destination, af);
    if (!address) {
        return std::unexpected(address.error());
    }
    return SaId{.destination = *address, .spi = spi.host()};
}

be32 as_be32(__be32 raw) noexcept {
    be32 value;
    std::memcpy(&value, &raw, sizeof value);
    return value;
}

SaMode to_mode(std::uint8_t mode) noexcept {
    return mode == XFRM_MODE_TUNNEL ? SaMode::tunnel : mode == XFRM_MODE_TRANSPORT ? SaMode::transport : SaMode::other;
}

Result<void> read_encapsulation(const Attribute& attribute, SaEncapsulation& out) {
    const auto raw = number<xfrm_encap_tmpl>(attribute);
    if (!raw) {
        return std::unexpected(raw.error());
    }
    std::memcpy(&out.source, &raw->encap_sport, sizeof out.source);
    std::memcpy(&out.destination, &raw->encap_dport, sizeof out.destination);
    out.supported = raw->encap_type == UDP_ENCAP_ESPINUDP;
    return {};
}

Result<void> read_mark(const Attribute& attribute, SaId& id) {
    const auto mark = number<xfrm_mark>(attribute);
    if (!mark) {
        return std::unexpected(mark.error());
    }
    id.mark = mark->v;
    id.mark_mask = mark->m;
    return {};
}

Result<void> read_short_replay(const Attribute& attribute, SaReplay& out) {
    const auto raw = number<xfrm_replay_state>(attribute);
    if (!raw) {
        return std::unexpected(raw.error());
    }
    out = {.extended = false, .sent = raw->oseq, .highest = raw->seq, .window = 0, .bitmap = {raw->bitmap}};
    return {};
}

Result<void> read_extended_replay(const Attribute& attribute, SaReplay& out) {
    constexpr std::size_t kHead = sizeof(xfrm_replay_state_esn);
    if (attribute.value.size() < kHead) {
        return malformed("XFRM replay state of " + std::to_string(attribute.value.size()) + " bytes");
    }
    const auto raw = load<xfrm_replay_state_esn>(attribute.value);
    const Bytes words = attribute.value.subspan(kHead);
    if (words.size() / sizeof(std::uint32_t) != raw.bmp_len || words.size() % sizeof(std::uint32_t) != 0 ||
        raw.replay_window > words.size() * 8) {
        return malformed("XFRM replay state of " + std::to_string(raw.bmp_len) + " words and a window of " +
                         std::to_string(raw.replay_window) + ", " + std::to_string(words.size()) + " bytes are there");
    }
    out = {.extended = true,
           .sent = std::uint64_t{raw.oseq_hi} << 32 | raw.oseq,
           .highest = std::uint64_t{raw.seq_hi} << 32 | raw.seq,
           .window = raw.replay_window,
           .bitmap = std::vector<std::uint32_t>(raw.bmp_len)};
    if (!words.empty()) {
        std::memcpy(out.bitmap.data(), words.data(), words.size());
    }
    return {};
}

SaLifetime to_lifetime(const xfrm_lifetime_cur& raw) noexcept {
    return {.bytes = raw.bytes, .packets = raw.packets, .add_time = raw.add_time, .use_time = raw.use_time};
}

Result<void> read_lifetime(const Attribute& attribute, std::optional<SaLifetime>& out) {
    const auto raw = number<xfrm_lifetime_cur>(attribute);
    if (!raw) {
        return std::unexpected(raw.error());
    }
    out = to_lifetime(*raw);
    return {};
}

Result<void> read_direction(const Attribute& attribute, SaDirection& out) {
    const auto raw = number<std::uint8_t>(attribute);
    if (!raw) {
        return std::unexpected(raw.error());
    }
    out = *raw == 1 ? SaDirection::in : *raw == 2 ? SaDirection::out : SaDirection::unknown;
    return {};
}

Result<void> read_sa_attribute(const Attribute& attribute, SaEvent& sa, AlgorithmReader& algorithms) {
    switch (attribute.type) {
        case XFRMA_ALG_AEAD:
        case XFRMA_ALG_CRYPT:
        case XFRMA_ALG_AUTH:
        case XFRMA_ALG_AUTH_TRUNC:
            return algorithms.read(attribute);
        case XFRMA_ENCAP:
            return read_encapsulation(attribute, sa.encapsulation);
        case XFRMA_REPLAY_VAL:
            return sa.replay.extended ? Result<void>{} : read_short_replay(attribute, sa.replay);
        case XFRMA_REPLAY_ESN_VAL:
            return read_extended_replay(attribute, sa.replay);
        case XFRMA_MARK:
            return read_mark(attribute, sa.id);
        case XFRMA_IF_ID:
            return read_number(attribute, sa.if_id);
        case kSaDirectionAttribute:
            return read_direction(attribute, sa.direction);
        default:
            return {};
    }
}

Result<std::optional<XfrmEvent>> decode_sa(Message message) {
    const auto body = read_body<xfrm_usersa_info>(message, XFRM_MSG_NEWSA, XFRM_MSG_UPDSA);
    if (!body) {
        return std::unexpected(body.error());
    }
    const xfrm_usersa_info& raw = body->fixed;
    if (raw.id.proto != IPPROTO_ESP) {
        return std::nullopt;
    }
    const auto id = to_id(raw.id.daddr, as_be32(raw.id.spi), raw.family);
    const auto source = to_address(raw.saddr, raw.family);
    if (!id || !source) {
        return std::unexpected(!id ? id.error() : source.error());
    }
    SaEvent sa;
    sa.id = *id;
    sa.source = *source;
    sa.mode = to_mode(raw.mode);
    sa.esn = (raw.flags & XFRM_STATE_ESN) != 0;
    sa.short_window = raw.replay_window;
    sa.limits = {.soft_bytes = raw.lft.soft_byte_limit,
                 .hard_bytes = raw.lft.hard_byte_limit,
                 .soft_packets = raw.lft.soft_packet_limit,
                 .hard_packets = raw.lft.hard_packet_limit,
                 .hard_seconds = raw.lft.hard_add_expires_seconds};
    sa.lifetime = to_lifetime(raw.curlft);
    AlgorithmReader algorithms;
    if (const auto read = for_each_attribute(body->attributes,
                                             [&](const Attribute& a) { return read_sa_attribute(a, sa, algorithms); });
        !read) {
        return std::unexpected(read.error());
    }
    sa.algorithms = algorithms.finish();
    sa.larval = sa.algorithms.cipher.empty() && sa.algorithms.integrity.empty();
    return XfrmEvent{std::move(sa)};
}

Result<void> read_mark_among(Bytes attributes, SaId& id) {
    return for_each_attribute(
        attributes, [&](const Attribute& a) { return a.type == XFRMA_MARK ? read_mark(a, id) : Result<void>{}; });
}

Result<std::optional<XfrmEvent>> decode_deleted(Message message) {
    const auto body = read_body<xfrm_usersa_id>(message, XFRM_MSG_DELSA, XFRM_MSG_DELSA);
    if (!body) {
        return std::unexpected(body.error());
    }
    if (body->fixed.proto != IPPROTO_ESP) {
        return std::nullopt;
    }
    auto id = to_id(body->fixed.daddr, as_be32(body->fixed.spi), body->fixed.family);
    if (!id) {
        return std::unexpected(id.error());
    }
    if (const auto read = read_mark_among(body->attributes, *id); !read) {
        return std::unexpected(read.error());
    }
    return XfrmEvent{SaDeleted{*id}};
}

Result<std::optional<XfrmEvent>> decode_expire(Message message) {
    const auto body = read_body<xfrm_user_expire>(message, XFRM_MSG_EXPIRE, XFRM_MSG_EXPIRE);
    if (!body) {
        return std::unexpected(body.error());
    }
    const xfrm_usersa_info& raw = body->fixed.state;
    if (raw.id.proto != IPPROTO_ESP) {
        return std::nullopt;
    }
    auto id = to_id(raw.id.daddr, as_be32(raw.id.spi), raw.family);
    if (!id) {
        return std::unexpected(id.error());
    }
    if (const auto read = read_mark_among(body->attributes, *id); !read) {
        return std::unexpected(read.error());
    }
    return body->fixed.hard != 0 ? XfrmEvent{SaDeleted{*id}} : XfrmEvent{SaExpiring{*id}};
}

Result<std::optional<XfrmEvent>> decode_checkpoint(Message message) {
    const auto body = read_body<xfrm_aevent_id>(message, XFRM_MSG_NEWAE, XFRM_MSG_NEWAE);
    if (!body) {
        return std::unexpected(body.error());
    }
    const xfrm_usersa_id& raw = body->fixed.sa_id;
    if (raw.proto != IPPROTO_ESP) {
        return std::nullopt;
    }
    const auto id = to_id(raw.daddr, as_be32(raw.spi), raw.family);
    if (!id) {
        return std::unexpected(id.error());
    }
    SaCheckpoint checkpoint{.id = *id, .replay = {}, .lifetime = {}};
    const auto read = for_each_attribute(body->attributes, [&](const Attribute& a) -> Result<void> {
        switch (a.type) {
            case XFRMA_REPLAY_VAL:
                return read_short_replay(a, checkpoint.replay.emplace());
            case XFRMA_REPLAY_ESN_VAL:
                return read_extended_replay(a, checkpoint.replay.emplace());
            case XFRMA_LTIME_VAL:
                return read_lifetime(a, checkpoint.lifetime);
            case XFRMA_MARK:
                return read_mark(a, checkpoint.id);
            default:
                return {};
        }
    });
    if (!read) {
        return std::unexpected(read.error());
    }
    return XfrmEvent{std::move(checkpoint)};
}

Result<std::optional<XfrmEvent>> decode_mapping(Message message) {
    const auto body = read_body<xfrm_user_mapping>(message, XFRM_MSG_MAPPING, XFRM_MSG_MAPPING);
    if (!body) {
        return std::unexpected(body.error());
    }
    const xfrm_user_mapping& raw = body->fixed;
    if (raw.id.proto != IPPROTO_ESP) {
        return std::nullopt;
    }
    auto id = to_id(raw.id.daddr, as_be32(raw.id.spi), raw.id.family);
    const auto source = to_address(raw.new_saddr, raw.id.family);
    if (!id || !source) {
        return std::unexpected(!id ? id.error() : source.error());
    }
    if (const auto read = read_mark_among(body->attributes, *id); !read) {
        return std::unexpected(read.error());
    }
    SaMapped mapped{.id = *id, .source = *source, .source_port = {}};
    std::memcpy(&mapped.source_port, &raw.new_sport, sizeof mapped.source_port);
    return XfrmEvent{mapped};
}

Result<std::optional<XfrmEvent>> decode_flush(Message message) {
    const auto body = read_body<xfrm_usersa_flush>(message, XFRM_MSG_FLUSHSA, XFRM_MSG_FLUSHSA);
    if (!body) {
        return std::unexpected(body.error());
    }
    // 0 and 255 (IPSEC_PROTO_ANY) mean all.
    const std::uint8_t proto = body->fixed.proto;
    return proto == IPPROTO_ESP || proto == 0 || proto == 255 ? std::optional<XfrmEvent>{SasFlushed{}} : std::nullopt;
}

}  // namespace

std::string SaId::text() const {
    std::array<char, 16> hex;
    std::snprintf(hex.data(), hex.size(), "0x%08x", static_cast<unsigned>(spi));
    return "SA " + std::string{hex.data()} + " to " + destination.text();
}

Result<std::optional<XfrmEvent>> decode_xfrm(Message message) {
    const Result<MessageHeader> header = decode_header(message);
    if (!header) {
        return std::unexpected(header.error());
    }
    switch (header->type) {
        case XFRM_MSG_NEWSA:
        case XFRM_MSG_UPDSA:
            return decode_sa(message);
        case XFRM_MSG_DELSA:
            return decode_deleted(message);
        case XFRM_MSG_EXPIRE:
            return decode_expire(message);
        case XFRM_MSG_NEWAE:
            return decode_checkpoint(message);
        case XFRM_MSG_FLUSHSA:
            return decode_flush(message);
        case XFRM_MSG_MAPPING:
            return decode_mapping(message);
        case XFRM_MSG_MIGRATE:
            return XfrmEvent{SasMigrated{}};
        default:
            return std::nullopt;
    }
}

}  // namespace twinspan::netlink

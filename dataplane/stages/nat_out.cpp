#include "dataplane/stages/nat_out.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/icmp_error.hpp"
#include "dataplane/stages/nat_aside.hpp"
#include "dataplane/stages/nat_icmp_error.hpp"
#include "dataplane/stages/nat_inbound.hpp"
#include "dataplane/stages/nat_rewrite.hpp"
#include "dataplane/state/nat_table.hpp"

#include <array>

namespace twinspan {
namespace {

bool is_private(be32 address) noexcept {  // RFC 1918 section 3
    const std::uint32_t a = address.host();
    return a >> 24 == 10 || a >> 20 == (172u << 4 | 1) || a >> 16 == (192u << 8 | 168);
}

struct PoolOfEgress {
    static std::uint16_t of(const Context& ctx, const PacketMeta& md) noexcept {
        return ctx.config->egresses[md.egress].pool;
    }
    static Verdict error(Verdict verdict, const PacketMeta&) noexcept { return verdict; }
};
struct PoolOfRoute {
    static std::uint16_t of(const Context&, const PacketMeta& md) noexcept {
        return static_cast<std::uint16_t>(RouteResult::from_raw(md.route).index());
    }
    // Our own may be about a packet that was on its way to the outside: NatIn knows that session.
    static Verdict error(Verdict verdict, const PacketMeta& md) noexcept {
        const bool unknown = !verdict.kept() && verdict.reason() == Drop::nat_no_session;
        return unknown && md.zone == Zone::self ? Verdict::keep() : verdict;
    }
};

NatKey key_of(rte_mbuf& m, const PacketMeta& md, std::uint16_t pool) noexcept {
    const auto& ip = header_at<Ipv4Header>(m, 0);
    const NatPorts ports = ports_out(m, md);
    return nat_key(ip.src, ip.dst, ports.src, ports.dst, md.protocol, pool);
}

// A translated ICMP error has no key: it is finished. Everything else gets one.
template <class PoolOf>
Verdict prepare(Context& ctx, rte_mbuf& m, NatKey& key) noexcept {
    const PacketMeta& md = meta(m);
    if (md.ip == IpVersion::v4 && is_private(header_at<Ipv4Header>(m, 0).dst)) [[unlikely]] {
        return Drop::private_destination;
    }
    const std::uint16_t pool = PoolOf::of(ctx, md);
    const NatClass what = classify_for_nat(m, md, ctx.config->pools[pool]);
    if (!what.verdict.kept()) [[unlikely]] {
        return what.verdict;
    }
    if (what.kind == NatKind::icmp_error) [[unlikely]] {
        key = {};
        return PoolOf::error(translate_icmp_error_out(*ctx.nat, m, pool), md);
    }
    key = key_of(m, md, pool);
    return Verdict::keep();
}

// The session of a packet that has none, or null: then the packet has ended. RFC 5508 REQ-8: its sender is told.
[[gnu::noinline]] NatSession* open_session(Context& ctx, rte_mbuf& m, const NatKey& key) noexcept {
    if (!begins_session(m, meta(m))) {
        NatSession* session = ctx.nat->find_inside(key);  // an earlier packet of the burst may have made it
        if (session == nullptr) {
            ctx.drop(&m, Drop::nat_no_session);
        }
        return session;
    }
    const NatTable::Opened opened = open_from_inside(ctx, key);
    if (opened.session == nullptr) {
        end_with_icmp(ctx, m, opened.reason, IcmpError::prohibited);
    }
    return opened.session;
}

template <class PoolOf>
void translate(Context& ctx, Batch& batch) noexcept {
    std::array<NatKey, kBurst> keys;
    std::uint16_t n = 0;
    batch.keep_if([&](rte_mbuf& m) noexcept {
        const Verdict verdict = prepare<PoolOf>(ctx, m, keys[n]);
        if (!verdict.kept()) [[unlikely]] {
            end_or_set_aside(ctx, m, verdict.reason());
            return false;
        }
        ++n;
        return true;
    });

    std::array<NatSession*, kBurst> sessions;
    ctx.nat->find_inside({keys.data(), n}, sessions.data());

    std::uint16_t i = 0;
    batch.keep_if([&](rte_mbuf& m) noexcept {
        NatSession* session = sessions[i];
        const NatKey& key = keys[i++];
        if (session == nullptr) [[unlikely]] {
            if (key.rest == 0) {
                return true;
            }
            session = open_session(ctx, m, key);
            if (session == nullptr) {
                return false;
            }
        }
        if (rewrite_out(m, meta(m), *session)) [[likely]] {
            session->seen(ctx.now_seconds);
        }
        return true;
    });
}

}  // namespace

void NatOut::process(Context& ctx, Batch& batch) noexcept { translate<PoolOfEgress>(ctx, batch); }

void NatHairpin::process(Context& ctx, Batch& batch) noexcept {
    translate<PoolOfRoute>(ctx, batch);
    for (rte_mbuf* m : batch) {
        PacketMeta& md = meta(*m);
        md.zone = ctx.config->pools[PoolOfRoute::of(ctx, md)].zone;
    }
}

}  // namespace twinspan

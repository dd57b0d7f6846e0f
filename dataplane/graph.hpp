// The packet path, written as one type. Read this first.
//
//   wire ► parse ► route ┬ forward ─► pick member ► hop limit ┬ leg ────────────────────────────┬► L2 rewrite ► tx
//                        │                                    ├ leg with a pool ► NAT out ──────┤
//                        │                                    ├ tunnel ► clamp MSS ► ESP out ───┘ by its owner, if any
//                        │                                    ├ too long, may be cut ► (NAT out) ► fragment ► as above
//                        │                                    └ neighbour unknown ► glean ► Linux
//                        ├ to a pool ─► NAT in ─► route ► forward
//                        │    aside: fragment ► reassemble ► NAT as before; from the inside ► hairpin ► NAT in, or
//                        │           ► NAT reply ► route ► forward, to who began outside and has another address here
//                        ├ to us ─┬ ESP ─► ESP in ► inner parse ► clamp MSS ► route ► forward
//                        │        ├ else ► UDP decap ┬ ESP ─► ESP in ► as above
//                        │        │                  └ else ► punt ► Linux
//                        │        └ fragment ► reassemble ► as above
//                        ├ to a connected subnet, neighbour unknown ► glean
//                        └ no route, blackhole ► drop
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/pipeline.hpp"
#include "dataplane/stages/clamp_mss.hpp"
#include "dataplane/stages/esp_in.hpp"
#include "dataplane/stages/esp_out.hpp"
#include "dataplane/stages/fragment.hpp"
#include "dataplane/stages/hand_over.hpp"
#include "dataplane/stages/hop_limit.hpp"
#include "dataplane/stages/inject.hpp"
#include "dataplane/stages/l2_rewrite.hpp"
#include "dataplane/stages/nat_aside.hpp"
#include "dataplane/stages/nat_in.hpp"
#include "dataplane/stages/nat_inbound.hpp"
#include "dataplane/stages/nat_out.hpp"
#include "dataplane/stages/parse.hpp"
#include "dataplane/stages/pick_member.hpp"
#include "dataplane/stages/punt.hpp"
#include "dataplane/stages/reassemble.hpp"
#include "dataplane/stages/route.hpp"
#include "dataplane/stages/udp_decap.hpp"

namespace twinspan {

namespace graph {

struct ByEgress {  // leg, nat, tunnel, glean: EgressKind's order; PickMember ended the drops
    static std::uint8_t path(const Context& ctx, const rte_mbuf& m) noexcept {
        return static_cast<std::uint8_t>(ctx.config->egresses[meta(m).egress].kind);
    }
};
struct ByTarget {  // forward, local, pool, connected, drop: RouteKind's order
    static std::uint8_t path(const Context&, const rte_mbuf& m) noexcept {
        return static_cast<std::uint8_t>(RouteResult::from_raw(meta(m).route).kind());
    }
};
struct ForLinuxOrRouted {
    static std::uint8_t path(const Context&, const rte_mbuf& m) noexcept {
        const PacketMeta& pm = meta(m);
        return pm.ip == IpVersion::none || (pm.flags & meta_flag::kMulticast) != 0 ? 0 : 1;
    }
};
struct EspOrOther {
    static std::uint8_t path(const Context&, const rte_mbuf& m) noexcept {
        return meta(m).protocol == +IpProtocol::esp ? 0 : 1;
    }
};
struct EspOtherOrFragment {
    static std::uint8_t path(const Context&, const rte_mbuf& m) noexcept {
        const PacketMeta& pm = meta(m);
        return (pm.flags & meta_flag::kFragment) != 0 ? 2 : pm.protocol == +IpProtocol::esp ? 0 : 1;
    }
};
struct FragmentHairpinOrReply {
    static std::uint8_t path(const Context& ctx, const rte_mbuf& m) noexcept {
        const PacketMeta& pm = meta(m);
        if ((pm.flags & meta_flag::kFragment) != 0) {
            return 0;
        }
        const NatPool& pool = ctx.config->pools[RouteResult::from_raw(pm.route).index()];
        return pool.stands_for_outside(rte_pktmbuf_mtod(&m, const Ipv4Header*)->dst) ? 2 : 1;
    }
};
struct ByEgressOnce {  // as ByEgress, but what is translated is as for a leg
    static std::uint8_t path(const Context& ctx, const rte_mbuf& m) noexcept {
        return (meta(m).flags & meta_flag::kTranslated) != 0 ? 0 : ByEgress::path(ctx, m);
    }
};
struct OutOrToPool {
    static std::uint8_t path(const Context&, const rte_mbuf& m) noexcept {
        return RouteResult::from_raw(meta(m).route).kind() == RouteKind::pool ? 1 : 0;
    }
};
struct FromTapOrTun {
    static std::uint8_t path(const Context& ctx, const rte_mbuf& m) noexcept {
        return ctx.config->netdevs[meta(m).netdev].is_tunnel ? 1 : 0;
    }
};

using Sealed = Pipeline<ClampMss, EspOut, L2Rewrite>;
using IntoTunnel = Pipeline<HandOver, Sealed>;
using Forward =
    Pipeline<PickMember, HopLimit, Split<ByEgress, L2Rewrite, Pipeline<NatOut, L2Rewrite>, IntoTunnel, Glean>>;

// A route lookup and what follows from it.
template <Stage ToUs, Stage ToPool>
using Routed = Pipeline<Route, Split<ByTarget, Forward, ToUs, ToPool, Glean, DropRoute>>;

// Once translated or decrypted, a packet is for Linux, or somewhere else; it does not go round again.
using FromPool = Pipeline<NatIn, Routed<Punt, NoSecondTime>>;
using Opened = Pipeline<ParseInner, ClampMss, Routed<Punt, NoSecondTime>>;
using FromTunnel = Pipeline<EspIn, Opened>;

using InUdp = Pipeline<UdpDecap, Split<EspOrOther, FromTunnel, Punt>>;
using ToUs = Split<EspOtherOrFragment, FromTunnel, InUdp, Pipeline<Reassemble, Split<EspOrOther, FromTunnel, InUdp>>>;

using FromWire = Pipeline<Parse, Split<ForLinuxOrRouted, Punt, Routed<ToUs, FromPool>>>;
using FromLinux = Pipeline<Split<FromTapOrTun, InjectFrame, Pipeline<InjectIntoTunnel, IntoTunnel>>>;
using FromSelf = Routed<Punt, FromPool>;

// What NatOut and NatIn set aside. The others of their batch went on without it.
using Rejoined = Pipeline<ReassembleForNat, Split<OutOrToPool, Pipeline<SetAsideTooLong, NatOut, L2Rewrite>, FromPool>>;
using Replies = Pipeline<PickMember, KeepToPool, HopLimit, Split<ByEgress, L2Rewrite, L2Rewrite, IntoTunnel, Glean>>;
using ToOutside = Pipeline<NatReply, Route, Split<ByTarget, Replies, NoSecondTime, NoSecondTime, Glean, DropRoute>>;
using Aside = Split<FragmentHairpinOrReply, Rejoined, Pipeline<NatHairpin, FromPool>, ToOutside>;

// Translated as one packet, since only its first piece would have ports; encrypted in pieces, never cut afterwards.
using Oversize = Split<ByEgressOnce, Fragment, Pipeline<NatOut, Fragment>, Fragment, Glean>;
using Pieces = Split<ByEgress, L2Rewrite, L2Rewrite, IntoTunnel, Glean>;

}  // namespace graph

class Graph {
public:
    // m.port is an index in Snapshot::ports, the data a whole frame.
    void from_wire(Context& ctx, Batch& batch) noexcept { wire_.process(ctx, batch); }
    // meta.netdev is set; the data is a frame (TAP) or an IP packet (TUN).
    void from_linux(Context& ctx, Batch& batch) noexcept { linux_.process(ctx, batch); }
    // What icmp_error made: parsed, data at the IP header.
    void from_self(Context& ctx, Batch& batch) noexcept { self_.process(ctx, batch); }
    // What another worker's HandOver left for this one.
    void from_worker(Context& ctx, Batch& batch) noexcept { worker_.process(ctx, batch); }
    // What EspIn has lent to other workers, opened and accepted.
    void from_tunnel(Context& ctx, Batch& batch) noexcept { opened_.process(ctx, batch); }
    // What is in ctx.aside; may leave some there that have become whole.
    void from_aside(Context& ctx, Batch& batch) noexcept { aside_.process(ctx, batch); }
    // What HopLimit put into ctx.oversize, at most kFragmentedAtOnce: leaves pieces in ctx.fragments.
    void from_oversize(Context& ctx, Batch& batch) noexcept { oversize_.process(ctx, batch); }
    // Those pieces.
    void from_fragments(Context& ctx, Batch& batch) noexcept { pieces_.process(ctx, batch); }

private:
    graph::FromWire wire_;
    graph::FromLinux linux_;
    graph::FromSelf self_;
    graph::Sealed worker_;
    graph::Opened opened_;
    graph::Aside aside_;
    graph::Oversize oversize_;
    graph::Pieces pieces_;
};

}  // namespace twinspan

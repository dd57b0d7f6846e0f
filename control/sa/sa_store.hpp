// Owns every SA that workers use: static ones, and those that Linux has for the tunnels with IKE. Feeds World::sas, and
// keeps what it took out of there until no worker uses it. Control thread only.
#pragma once

#include "control/metrics.hpp"
#include "control/model/world.hpp"
#include "control/netlink/xfrm_kernel.hpp"
#include "control/netlink/xfrm_mirror.hpp"
#include "control/sa/kernel_sa.hpp"
#include "control/sa/lifetime.hpp"
#include "control/sa/static_sas.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace twinspan {

// What `show tunnels` says of one SA.
struct SaRow {
    std::size_t tunnel = 0;
    std::uint32_t spi = 0;
    bool outbound = false;
    bool from_kernel = false;
    bool in_use = false;
    Suite suite = Suite::aes_256_gcm;
    std::uint8_t icv_len = 16;
    bool esn = false;
    std::uint64_t sequence = 0;  // last used or received
    std::uint64_t reserved_until = 0;  // outbound
    std::uint32_t window_bits = 0;  // inbound
    SaUsage usage{};
    Encapsulation encapsulation{};
    IpAddress peer{};  // where it sends to, or may come from
    LifetimeLeft left{};
};

// Where a peer sends from, in UDP.
struct Peer {
    IpAddress address;
    be16 port{};
    friend bool operator==(const Peer&, const Peer&) = default;
};

class SaStore : public netlink::XfrmListener {
public:
    // How long an outbound SA that Linux does not delete keeps a newer one waiting: 10 s.
    static constexpr std::uint64_t kTakeOverTicks = 200;

    // `publish` puts World::sas of these tunnels before the workers, and says how long it took; after `synchronize`
    // none uses what was there before. Both are empty until workers run.
    struct Workers {
        std::function<std::chrono::nanoseconds(std::span<const std::size_t> tunnels)> publish;
        std::function<void()> synchronize;
    };

    // Config and World::sas are of `world`; all outlive this. `kernel` may be null where no tunnel has IKE.
    SaStore(Engine engine, World& world, Metrics& metrics, std::unique_ptr<netlink::XfrmKernel> kernel);
    // close() was called, or the process goes down in ruins: then what storage covers is not used again.
    ~SaStore() override = default;

    Result<void> open_static(const std::vector<SaFile>& files);
    void set_workers(Workers workers) { workers_ = std::move(workers); }

    void apply(netlink::XfrmEvent event) override;
    void begin_dump() override;
    void end_dump(bool complete) override;
    // One publication for all that came in one batch, and one before it for what is inbound. Publications take at most
    // half of the time: one that would come too early waits for a later call.
    void commit() override;
    // An audit changes nothing here and writes nothing to Linux.
    void begin_audit() override;
    void audit(netlink::SaEvent sa) override;
    std::uint64_t end_audit() override;
    // Workers have not been told of all yet.
    bool waiting() const noexcept { return !changed_.empty(); }

    // Every 50 ms: reserves numbers, has limits told, follows peers that moved, writes counters and replay windows.
    void tick();
    // An SA that was refused for another's sake might be taken now: a dump is due.
    bool wants_resync() noexcept { return std::exchange(wants_resync_, false); }
    // When no worker runs any more: the exact numbers go back to where they came from.
    void close();

    std::vector<SaRow> rows() const;

private:
    using Owned = std::unique_ptr<KernelSa>;
    using Clock = std::chrono::steady_clock;
    // Of one tunnel.
    struct Place {
        std::vector<KernelSa*> sas;  // the newest last
        KernelSa* current = nullptr;  // the outbound one in use
        std::optional<Peer> moved_from;  // what Linux says, while workers hear the peer from elsewhere:
        Peer moved_to;
        bool changed = false;
    };
    struct Refused {
        std::string why;
        Metric metric = Metric::xfrm_sa_failed;
        bool for_another = false;  // it would do if that were gone
        bool seen = true;
    };

    void take_batch();
    void act_on(netlink::XfrmEvent event);
    void take(netlink::SaEvent event);
    static SaConfig config_of(netlink::SaEvent& event, const SaMatch& match);
    void add(netlink::SaEvent event, const SaMatch& match, const SaConfig& config, const KeyFingerprint& key);
    bool conflicts(const netlink::SaEvent& event, const SaMatch& match, const KeyFingerprint& key);
    void refuse(const netlink::SaEvent& event, Metric metric, const std::string& why, bool for_another = false);
    void forget_refusal(const netlink::SaId& id);
    void remove(const netlink::SaId& id);
    void remove_all();
    void retire(Owned sa);
    void remember(const KernelSa& sa);
    void change(std::size_t tunnel);
    KernelSa* choose_outbound(Place& place);
    TunnelSas wanted(std::size_t tunnel);
    bool may_publish() const noexcept { return !workers_.publish || Clock::now() >= not_before_; }
    void publish();
    void release();
    void reserve();
    void move_peer(std::size_t tunnel, const Peer& to);
    void follow_linux(std::size_t tunnel);
    void follow_packets();
    void watch_limit(KernelSa& sa);
    void checkpoint_some();
    void attempt(KernelSa& sa, const netlink::Answer<void>& done);
    const std::string& tunnel_name(std::size_t tunnel) const { return world_.config.tunnels[tunnel].name; }
    const std::string& tunnel_name(const KernelSa& sa) const { return tunnel_name(sa.tunnel()); }

    Engine engine_;
    World& world_;
    Metrics& metrics_;
    std::unique_ptr<netlink::XfrmKernel> kernel_;
    SaMatcher matcher_;
    Workers workers_;
    StaticSas static_;
    std::map<netlink::SaId, Owned> sas_;
    std::vector<Place> places_;  // by tunnel
    std::unordered_map<std::uint32_t, unsigned> inbound_spis_;  // static ones too
    std::map<KeyFingerprint, unsigned> keys_;  // in use
    std::vector<Owned> dying_;  // Linux has them no more, workers may
    std::set<KeyFingerprint> dying_keys_;
    std::vector<KernelSa*> released_;
    std::vector<std::size_t> changed_;  // tunnels
    std::map<netlink::SaId, Refused> refused_;
    std::size_t refused_for_another_ = 0;
    std::vector<netlink::XfrmEvent> batch_;  // until the commit
    Clock::time_point batch_began_{};
    std::optional<Clock::time_point> inbound_since_;  // an inbound SA waits for its publication
    std::vector<netlink::SaEvent> dumped_;
    std::map<std::uint32_t, PeerAddress> heard_;  // by inbound SPI, of SAs in UDP
    std::optional<netlink::SaId> checkpoint_at_;  // where a round of checkpoints goes on
    Clock::time_point not_before_{};  // the next publication
    std::set<netlink::SaId> suspects_;  // of the audit under way: not as Linux has shown them
    bool dumping_ = false;
    bool wants_resync_ = false;
    std::uint64_t ticks_ = 0;
    // Where the numbers of an outbound key that is gone ended, should Linux be given the same key again.
    std::map<KeyFingerprint, std::uint64_t> ended_;
    std::deque<KeyFingerprint> ended_order_;
};

}  // namespace twinspan

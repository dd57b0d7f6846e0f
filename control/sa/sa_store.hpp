// Owns every SA that workers use: static ones, and those that Linux has for the tunnels with IKE. Feeds World::sas, and
// keeps what it took out of there until no worker uses it. Control thread only.
#pragma once

#include "control/metrics.hpp"
#include "control/model/world.hpp"
#include "control/netlink/xfrm_kernel.hpp"
#include "control/netlink/xfrm_mirror.hpp"
#include "control/sa/kernel_sa.hpp"
#include "control/sa/static_sas.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
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
    bool esn = false;
    std::uint64_t sequence = 0;  // last used or received
    std::uint64_t reserved_until = 0;  // outbound
    std::uint32_t window_bits = 0;  // inbound
    SaUsage usage;
};

class SaStore : public netlink::XfrmListener {
public:
    // `publish` puts World::sas before the workers; after `synchronize` none uses what was there before. Both are empty
    // until workers run.
    struct Workers {
        std::function<void()> publish;
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
    void commit() override;

    // Every 50 ms: reserves numbers, has limits told; every fifth time writes counters and replay windows.
    void tick();
    // An SA that was refused for another's sake might be taken now: a dump is due.
    bool wants_resync() noexcept { return std::exchange(wants_resync_, false); }
    // When no worker runs any more: the exact numbers go back to where they came from.
    void close();

    std::vector<SaRow> rows() const;

private:
    using Owned = std::unique_ptr<KernelSa>;
    struct Refused {
        std::string why;
        Metric metric = Metric::xfrm_sa_failed;
        bool for_another = false;  // it would do if that were gone
        bool seen = true;
    };

    void take_batch();
    void act_on(netlink::XfrmEvent event);
    void take(netlink::SaEvent event);
    void add(netlink::SaEvent event, const SaMatch& match);
    bool conflicts(const netlink::SaEvent& event, const SaMatch& match, const KeyFingerprint& key);
    void refuse(const netlink::SaEvent& event, Metric metric, const std::string& why, bool for_another = false);
    void remove(const netlink::SaId& id);
    void remove_all();
    void retire(Owned sa);
    void publish();
    void remember(const KernelSa& sa);
    KernelSa* choose_outbound(std::size_t tunnel);
    std::vector<TunnelSas> wanted();
    void release();
    void reserve();
    void watch_limit(KernelSa& sa);
    void attempt(KernelSa& sa, const netlink::Answer<void>& done);
    const std::string& tunnel_name(const KernelSa& sa) const { return world_.config.tunnels[sa.tunnel()].name; }

    Engine engine_;
    World& world_;
    Metrics& metrics_;
    std::unique_ptr<netlink::XfrmKernel> kernel_;
    Workers workers_;
    StaticSas static_;
    std::vector<Owned> sas_;  // the newest last
    std::vector<Owned> dying_;  // Linux has them no more, workers may
    std::vector<KernelSa*> current_;  // by tunnel: the outbound one in use
    std::vector<KernelSa*> released_;  // of sas_: outbound, no longer in use, with numbers to give back
    std::map<netlink::SaId, Refused> refused_;
    using Clock = std::chrono::steady_clock;
    std::vector<netlink::XfrmEvent> batch_;  // until the commit
    Clock::time_point batch_began_{};
    std::optional<Clock::time_point> inbound_since_;  // an inbound SA waits for its publication
    std::vector<netlink::SaEvent> dumped_;
    bool dumping_ = false;
    bool changed_ = false;
    bool wants_resync_ = false;
    std::uint64_t ticks_ = 0;
    // Where the numbers of an outbound key that is gone ended, should Linux be given the same key again.
    std::map<KeyFingerprint, std::uint64_t> ended_;
    std::deque<KeyFingerprint> ended_order_;
};

}  // namespace twinspan

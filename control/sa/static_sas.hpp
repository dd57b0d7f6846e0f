// The SAs of tunnels with fixed keys; on disk, their reserved numbers, and what they have sent and received so far.
// Control thread only.
#pragma once

#include "control/config/config.hpp"
#include "control/config/sa_file.hpp"
#include "control/metrics.hpp"
#include "control/model/world.hpp"
#include "control/sa/lifetime.hpp"
#include "control/sa/usage_file.hpp"
#include "control/trouble.hpp"
#include "crypto/sa.hpp"
#include "crypto/sequence_reservation.hpp"
#include "dataplane/base/error.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace twinspan {

class StaticSas {
public:
    // What one key has carried.
    struct Wear {
        std::filesystem::path file;
        KeyUsage before;  // of earlier runs
        KeyUsage written{};
        SaLimit limit = SaLimit::none;  // reached and told
        bool unwritten = false;  // the disk did not take it
    };
    struct Entry {
        std::size_t tunnel;
        SequenceReservation reservation;
        KeyFingerprint outbound_key;
        KeyFingerprint inbound_key;
        std::unique_ptr<OutboundSa> out;
        std::unique_ptr<InboundSa> in;
        Encapsulation encapsulation;
        Wear sending;
        Wear receiving;
        bool unreserved = false;  // the disk does not cover more numbers

        // Earlier runs included.
        SaUsage sent() const noexcept;
        SaUsage received() const noexcept;
    };

    // `files`: as Config::tunnels. Fills the tunnels' places in `sas`.
    Result<void> open(const Engine& engine, const Config& config, const std::vector<SaFile>& files,
                      std::vector<TunnelSas>& sas, std::uint64_t now = now_s());
    void top_up(const Config& config, Metrics& metrics, Trouble::Clock::time_point now = Trouble::Clock::now());
    // Warns at soft limits, stops SAs at hard ones. Calls `changed(tunnel)` where workers must learn of it.
    template <class Changed>
    void watch(const Config& config, Metrics& metrics, std::uint64_t now_s, Changed&& changed) {
        for (Entry& sa : entries_) {
            if (watch_one(config, metrics, now_s, sa)) {
                changed(sa.tunnel);
            }
        }
    }
    // From a timer, every 50 ms: each tunnel's once a second; of more than 500 tunnels some each time, once in ten
    // seconds at the latest.
    void write_usage(const Config& config, Metrics& metrics, std::uint64_t tick,
                     Trouble::Clock::time_point now = Trouble::Clock::now());
    // When no worker runs any more: the numbers that were not used go back, and the use is written.
    void give_back(const Config& config, Metrics& metrics);

    // What workers may use of a tunnel's SAs; of one without static keys, nothing.
    TunnelSas sas_of(std::size_t tunnel) const;
    const std::vector<Entry>& entries() const noexcept { return entries_; }

private:
    Result<void> open_one(const Engine& engine, const Config& config, std::size_t tunnel, const SaFile& file,
                          std::uint64_t now_s);
    void write_usage(const Config& config, Metrics& metrics, Entry& sa, Trouble::Clock::time_point now);
    static bool watch_one(const Config& config, Metrics& metrics, std::uint64_t now_s, Entry& sa);
    std::vector<Entry> entries_;
    std::vector<std::optional<std::size_t>> entry_of_;  // by tunnel
    SharedTrouble reserving_;
    SharedTrouble writing_;
};

}  // namespace twinspan

// The SAs of tunnels with fixed keys, and their reserved numbers on disk. Control thread only.
#pragma once

#include "control/config/config.hpp"
#include "control/config/sa_file.hpp"
#include "control/model/world.hpp"
#include "control/trouble.hpp"
#include "crypto/sa.hpp"
#include "crypto/sequence_reservation.hpp"
#include "dataplane/base/error.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace twinspan {

class StaticSas {
public:
    struct Entry {
        std::size_t tunnel;
        SequenceReservation reservation;
        KeyFingerprint outbound_key;
        KeyFingerprint inbound_key;
        std::unique_ptr<OutboundSa> out;
        std::unique_ptr<InboundSa> in;
        Trouble trouble{};  // with the disk
    };

    // `files`: as Config::tunnels. Fills the tunnels' places in `sas`.
    Result<void> open(const Engine& engine, const Config& config, const std::vector<SaFile>& files,
                      std::vector<TunnelSas>& sas);
    void top_up(const Config& config, Trouble::Clock::time_point now = Trouble::Clock::now());
    // When no worker runs any more: the numbers that were not used go back.
    void give_back();

    const std::vector<Entry>& entries() const noexcept { return entries_; }

private:
    Result<void> open_one(const Engine& engine, const Config& config, std::size_t tunnel, const SaFile& file,
                          TunnelSas& sas);
    std::vector<Entry> entries_;
};

}  // namespace twinspan

#include "control/sa/static_sas.hpp"

#include "control/log.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace twinspan {
namespace {

std::unexpected<Error> with(const std::string& what, const std::string& why) {
    return std::unexpected(Error{what + ": " + why});
}

Result<void> make_directory(const std::filesystem::path& path) {
    std::error_code error;
    if (std::filesystem::create_directories(path, error)) {  // one that was there keeps its mode
        std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
    }
    return error ? Result<void>{with("state-dir " + path.string(), error.message())} : Result<void>{};
}

}  // namespace

Result<void> StaticSas::open(const Engine& engine, const Config& config, const std::vector<SaFile>& files,
                             std::vector<TunnelSas>& sas) {
    const auto is_static = [](const TunnelConfig& tunnel) { return !tunnel.ike; };
    if (files.empty() || std::ranges::none_of(config.tunnels, is_static)) {
        return {};
    }
    if (auto made = make_directory(config.state_dir); !made) {
        return made;
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
        if (is_static(config.tunnels[i])) {
            if (auto opened = open_one(engine, config, i, files[i], sas[i]); !opened) {
                return opened;
            }
        }
    }
    return {};
}

Result<void> StaticSas::open_one(const Engine& engine, const Config& config, std::size_t tunnel, const SaFile& file,
                                 TunnelSas& sas) {
    const std::string what = "tunnel " + config.tunnels[tunnel].name;
    const KeyFingerprint outbound_key = fingerprint(engine, file.outbound);
    auto reservation = SequenceReservation::open(config.state_dir, file.outbound.spi, outbound_key);
    if (!reservation) {
        return with(what, reservation.error());
    }
    auto out = OutboundSa::create(engine, file.outbound, reservation->first());
    auto in = InboundSa::create(engine, file.inbound, file.replay_window_bits);
    if (!out || !in) {
        return with(what, !out ? out.error() : in.error());
    }
    if (const auto covered = reservation->top_up(**out); !covered) {
        return with(what, covered.error());
    }
    sas = {out->get(), {{file.inbound.spi, in->get()}}, file.encapsulation()};
    entries_.push_back({tunnel, std::move(*reservation), outbound_key, fingerprint(engine, file.inbound),
                        std::move(*out), std::move(*in)});
    return {};
}

void StaticSas::top_up(const Config& config, Trouble::Clock::time_point now) {
    for (Entry& sa : entries_) {
        const auto done = sa.reservation.top_up(*sa.out);
        if (!done && sa.trouble.begins_or_lasts(now)) {
            spdlog::error("tunnel {}: {}", config.tunnels[sa.tunnel].name, done.error());
        } else if (done && sa.trouble.ends()) {
            spdlog::info("tunnel {}: sequence numbers are reserved again", config.tunnels[sa.tunnel].name);
        }
    }
}

void StaticSas::give_back() {
    for (Entry& sa : entries_) {
        if (const auto done = sa.reservation.give_back(*sa.out); !done) {
            spdlog::warn("{}: {}", sa.reservation.file().string(), done.error());
        }
    }
}

}  // namespace twinspan

#include "control/sa/static_sas.hpp"

#include "control/log.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace twinspan {
namespace {

// Two files each, 60 us a file: of 10,000 tunnels an eighth of the time.
constexpr std::size_t kWrittenAtOnce = 25, kTicksPerSecond = 20, kMostTicks = 200;

std::unexpected<Error> with(const std::string& what, const std::string& why) {
    return std::unexpected(Error{what + ": " + why});
}

SaUsage sum(const SaUsage& a, const SaUsage& b) noexcept { return {a.packets + b.packets, a.bytes + b.bytes}; }

Result<void> make_directory(const std::filesystem::path& path) {
    std::error_code error;
    if (std::filesystem::create_directories(path, error)) {  // one that was there keeps its mode
        std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
    }
    return error ? Result<void>{with("state-dir " + path.string(), error.message())} : Result<void>{};
}

}  // namespace

// Sequence numbers say less: a hard stop costs as many as were reserved ahead.
SaUsage StaticSas::Entry::sent() const noexcept { return sum(sending.before.used, out->usage()); }

SaUsage StaticSas::Entry::received() const noexcept { return sum(receiving.before.used, in->usage()); }

Result<void> StaticSas::open(const Engine& engine, const Config& config, const std::vector<SaFile>& files,
                             std::vector<TunnelSas>& sas, std::uint64_t now) {
    entry_of_.resize(config.tunnels.size());
    const auto is_static = [](const TunnelConfig& tunnel) { return !tunnel.ike; };
    if (files.empty() || std::ranges::none_of(config.tunnels, is_static)) {
        return {};
    }
    if (auto made = make_directory(config.state_dir); !made) {
        return made;
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
        if (is_static(config.tunnels[i])) {
            if (auto opened = open_one(engine, config, i, files[i], now); !opened) {
                return opened;
            }
            sas[i] = sas_of(i);
        }
    }
    return {};
}

Result<void> StaticSas::open_one(const Engine& engine, const Config& config, std::size_t tunnel, const SaFile& file,
                                 std::uint64_t now_s) {
    const std::string what = "tunnel " + config.tunnels[tunnel].name;
    const KeyFingerprint outbound_key = fingerprint(engine, file.outbound);
    auto reservation = SequenceReservation::open(config.state_dir, file.outbound.spi, outbound_key);
    if (!reservation) {
        return with(what, reservation.error());
    }
    const KeyFingerprint inbound_key = fingerprint(engine, file.inbound);
    const auto wear_of = [&](const KeyFingerprint& key) -> std::expected<Wear, std::string> {
        std::filesystem::path path = config.state_dir / (to_hex(key) + ".used");
        const auto before = read_usage(path, now_s);
        return before ? std::expected<Wear, std::string>{Wear{.file = std::move(path), .before = *before}}
                      : std::unexpected(before.error());
    };
    auto sending = wear_of(outbound_key);
    auto receiving = wear_of(inbound_key);
    if (!sending || !receiving) {
        return with(what, !sending ? sending.error() : receiving.error());
    }
    auto out = OutboundSa::create(engine, file.outbound, reservation->first());
    auto in = InboundSa::create(engine, file.inbound, file.replay_window_bits, receiving->before.highest);
    if (!out || !in) {
        return with(what, !out ? out.error() : in.error());
    }
    if (const auto covered = reservation->top_up(**out); !covered) {
        return with(what, covered.error());
    }
    entry_of_[tunnel] = entries_.size();
    entries_.push_back({.tunnel = tunnel,
                        .reservation = std::move(*reservation),
                        .outbound_key = outbound_key,
                        .inbound_key = inbound_key,
                        .out = std::move(*out),
                        .in = std::move(*in),
                        .encapsulation = file.encapsulation(),
                        .sending = std::move(*sending),
                        .receiving = std::move(*receiving)});
    return {};
}

TunnelSas StaticSas::sas_of(std::size_t tunnel) const {
    TunnelSas sas;
    if (tunnel >= entry_of_.size() || !entry_of_[tunnel]) {
        return sas;
    }
    const Entry& entry = entries_[*entry_of_[tunnel]];
    sas.encapsulation = entry.encapsulation;
    sas.layout = entry.out->layout();
    if (entry.sending.limit != SaLimit::hard) {
        sas.out = entry.out.get();
    }
    if (entry.receiving.limit != SaLimit::hard) {
        sas.in = {{entry.in->spi(), entry.in.get(), entry.encapsulation}};
    }
    sas.worn_out = !sas.complete();
    return sas;
}

void StaticSas::top_up(const Config& config, Metrics& metrics, Trouble::Clock::time_point now) {
    for (Entry& sa : entries_) {
        if (sa.sending.limit == SaLimit::hard) {  // it stays stopped
            reserving_.ends(sa.unreserved);
            continue;
        }
        const auto done = sa.reservation.top_up(*sa.out);
        metrics.add(Metric::sa_disk_failures, done ? 0 : 1);
        if (!done && reserving_.begins_or_lasts(sa.unreserved, now)) {
            spdlog::error("tunnel {}: {} ({} tunnels can reserve no numbers)", config.tunnels[sa.tunnel].name,
                          done.error(), reserving_.failing());
        } else if (done && reserving_.ends(sa.unreserved)) {
            spdlog::info("tunnel {}: sequence numbers are reserved again", config.tunnels[sa.tunnel].name);
        }
    }
}

bool StaticSas::watch_one(const Config& config, Metrics& metrics, std::uint64_t now_s, Entry& sa) {
    const TunnelConfig& tunnel = config.tunnels[sa.tunnel];
    bool stopped = false;
    const auto watch = [&](const SaUsage& used, std::uint32_t spi, const char* direction, Wear& wear, SaLimit numbers) {
        const std::uint64_t age_s = now_s - std::min(now_s, wear.before.since_s);
        const SaLimit limit = std::max(limit_of(tunnel.lifetime, used, age_s), numbers);
        if (limit <= wear.limit) {
            return;
        }
        wear.limit = limit;
        const bool hard = limit == SaLimit::hard;
        stopped |= hard;
        metrics.add(hard ? Metric::sa_lifetimes_over : Metric::sa_lifetimes_near_end);
        spdlog::warn(
            "tunnel {}: {} SA {:#010x} {} of its lifetime after {} packets, {} bytes and {} s; it needs new keys",
            tunnel.name, direction, spi, hard ? "is stopped at the end" : "is at nine tenths", used.packets, used.bytes,
            age_s);
    };
    watch(sa.sent(), sa.out->spi(), "outbound", sa.sending, limit_of_numbers(*sa.out));
    watch(sa.received(), sa.in->spi(), "inbound", sa.receiving, SaLimit::none);
    if (sa.sending.limit == SaLimit::hard) {
        sa.out->stop();
    }
    return stopped;
}

void StaticSas::write_usage(const Config& config, Metrics& metrics, std::uint64_t tick,
                            Trouble::Clock::time_point now) {
    const std::size_t round = std::clamp<std::size_t>(entries_.size() / kWrittenAtOnce, kTicksPerSecond, kMostTicks);
    for (std::size_t i = tick % round; i < entries_.size(); i += round) {
        write_usage(config, metrics, entries_[i], now);
    }
}

void StaticSas::write_usage(const Config& config, Metrics& metrics, Entry& sa, Trouble::Clock::time_point now) {
    const auto write = [&](Wear& wear, const KeyUsage& usage) {
        if (usage == wear.written) {
            return;
        }
        if (const auto done = twinspan::write_usage(wear.file, usage); !done) {
            metrics.add(Metric::sa_disk_failures);
            if (writing_.begins_or_lasts(wear.unwritten, now)) {
                spdlog::error("tunnel {}: {} ({} such files fail)", config.tunnels[sa.tunnel].name, done.error(),
                              writing_.failing());
            }
            return;
        }
        wear.written = usage;
        if (writing_.ends(wear.unwritten)) {
            spdlog::info("tunnel {}: the use of its keys is written again", config.tunnels[sa.tunnel].name);
        }
    };
    write(sa.sending, {sa.sending.before.since_s, sa.sent()});
    write(sa.receiving, {sa.receiving.before.since_s, sa.received(), sa.in->replay().highest()});
}

void StaticSas::give_back(const Config& config, Metrics& metrics) {
    for (Entry& sa : entries_) {
        write_usage(config, metrics, sa, Trouble::Clock::now());
        if (const auto done = sa.reservation.give_back(*sa.out); !done) {
            metrics.add(Metric::sa_disk_failures);
            spdlog::warn("{}: {}", sa.reservation.file().string(), done.error());
        }
    }
}

}  // namespace twinspan

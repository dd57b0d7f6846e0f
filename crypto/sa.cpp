#include "crypto/sa.hpp"

#include <cstring>
#include <new>

namespace twinspan {
namespace {

constexpr std::size_t kMostSaBytes = 2048;

// A place for an SA with its key expanded behind it.
struct Place {
    void* memory;
    SaCipher cipher;
};

Place make_place(const Engine& engine, const SaConfig& config, CipherDirection direction) {
    void* memory = secret_memory().allocate(sa_size(config.suite), alignof(OutboundSa));
    return {memory, expand(engine, config, direction, static_cast<std::uint8_t*>(memory) + sizeof(OutboundSa))};
}
static_assert(sizeof(OutboundSa) == sizeof(InboundSa) && alignof(OutboundSa) == alignof(InboundSa));

template <class Sa>
void destroy(Sa* sa) noexcept {
    const std::size_t size = sa_size(sa->suite());
    sa->~Sa();
    explicit_bzero(static_cast<void*>(sa), size);
    secret_memory().deallocate(sa, size, alignof(Sa));
}

}  // namespace

std::size_t sa_size(Suite suite) noexcept {
    constexpr std::size_t kLine = SecretArena::kLine;
    return ((sizeof(OutboundSa) + schedule_len(suite) + kLine - 1) / kLine | 1) * kLine;
}
static_assert(((sizeof(OutboundSa) + kMostScheduleLen + 63) / 64 | 1) * 64 <= kMostSaBytes);

std::expected<std::unique_ptr<OutboundSa>, std::string> OutboundSa::create(const Engine& engine, const SaConfig& config,
                                                                           std::uint64_t first) {
    // RFC 4303 section 2.2: the first packet carries 1.
    if (first == 0 || first > end_of(config.width)) {
        return std::unexpected("sequence number " + std::to_string(first) + " is outside the SA's range: rekey");
    }
    if (auto valid = check(config); !valid) {
        return std::unexpected(valid.error());
    }
    const Place place = make_place(engine, config, CipherDirection::seal);
    return std::unique_ptr<OutboundSa>{new (place.memory) OutboundSa{place.cipher, first}};
}

OutboundSa::OutboundSa(const SaCipher& cipher, std::uint64_t first) noexcept
    : cipher_(cipher), next_seq_(first), first_(first) {}

void OutboundSa::operator delete(OutboundSa* sa, std::destroying_delete_t) noexcept { destroy(sa); }

// A number is in next_seq_ before it is in unused_. Read the other way round, the difference never falls below zero.
SaUsage OutboundSa::usage() const noexcept {
    const std::uint64_t unused = unused_.load(std::memory_order_acquire);
    return {next_seq() - first_ - unused, used_.sum().bytes};
}

void OutboundSa::raise_limit(std::uint64_t limit) noexcept {
    const std::uint64_t capped = std::min(limit, end_of_sequence());
    if (capped > limit_.load(std::memory_order_relaxed)) {
        limit_.store(capped, std::memory_order_release);
    }
}

std::expected<std::unique_ptr<InboundSa>, std::string> InboundSa::create(const Engine& engine, const SaConfig& config,
                                                                         std::uint32_t window_bits,
                                                                         std::uint64_t seen_up_to) {
    return make(engine, config, ReplayWindow::create(window_bits, seen_up_to));
}

std::expected<std::unique_ptr<InboundSa>, std::string> InboundSa::create(const Engine& engine, const SaConfig& config,
                                                                         std::uint32_t window_bits,
                                                                         const ReplayState& seen) {
    return make(engine, config, ReplayWindow::create(window_bits, seen));
}

std::expected<std::unique_ptr<InboundSa>, std::string> InboundSa::make(
    const Engine& engine, const SaConfig& config, std::expected<ReplayWindow, std::string> replay) {
    if (!replay) {
        return std::unexpected(replay.error());
    }
    if (auto valid = check(config); !valid) {
        return std::unexpected(valid.error());
    }
    const Place place = make_place(engine, config, CipherDirection::open);
    return std::unique_ptr<InboundSa>{new (place.memory) InboundSa{place.cipher, std::move(*replay)}};
}

InboundSa::InboundSa(const SaCipher& cipher, ReplayWindow replay) noexcept
    : cipher_(cipher), replay_(std::move(replay)) {}

void InboundSa::operator delete(InboundSa* sa, std::destroying_delete_t) noexcept { destroy(sa); }

}  // namespace twinspan

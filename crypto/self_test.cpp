#include "crypto/self_test.hpp"

#include "crypto/burst.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace twinspan {
namespace {

constexpr std::uint32_t kSpi = 0x1001;
constexpr std::size_t kPayloadLen = 21;  // 45 46 47 ..; needs padding at every alignment
constexpr std::size_t kMostLen = 96;
static_assert(kEspMaxPayloadOffset + kPayloadLen + kEspMaxRoom <= kMostLen);

// Key, salt or integrity key 00 01 02 .., IV = sequence number (not that of CBC), next header 4.
constexpr KnownAnswer kKnownAnswers[] = {
#include "crypto/known_answers.inc"
};

using Packet = std::array<std::uint8_t, kMostLen>;

Opened open(Engine& engine, InboundSa& in, std::uint64_t seq, Packet& packet, std::size_t len) {
    OpenJob job{&in, packet.data(), seq, static_cast<std::uint32_t>(len), {}};
    open_burst(engine, {&job, 1});
    return job.opened;
}

bool holds_the_payload(const Opened& opened, const std::uint8_t* payload) {
    std::array<std::uint8_t, kPayloadLen> plain;
    std::iota(plain.begin(), plain.end(), std::uint8_t{0x45});
    return opened.status == OpenStatus::ok && opened.payload_len == kPayloadLen &&
           opened.next_header == kNextHeaderIpv4 && std::equal(plain.begin(), plain.end(), payload);
}

std::string run(Engine& engine, const KnownAnswer& known) {
    SaConfig config{
        .spi = kSpi, .suite = known.suite, .keymat = SecretBytes{keymat_len(known.suite)}, .width = known.width};
    std::iota(config.keymat.data(), config.keymat.data() + config.keymat.size(), std::uint8_t{0});
    auto out = OutboundSa::create(engine, config);
    auto in = InboundSa::create(engine, config, ReplayWindow::kMinBits);
    auto answer = SecretBytes::from_hex(known.esp_hex);
    if (!out || !in || !answer || answer->size() != (*out)->sealed_len(kPayloadLen)) {
        return "cannot make an SA";
    }
    const std::size_t len = answer->size();
    const std::size_t offset = payload_offset((*out)->layout());
    Packet packet{};
    std::ranges::copy(answer->span(), packet.begin());
    Packet changed = packet;
    changed[len - 1] ^= 1;
    if (open(engine, **in, known.seq, changed, len).status != OpenStatus::auth_failed) {
        return "accepted a changed packet";
    }
    if (!holds_the_payload(open(engine, **in, known.seq, packet, len), packet.data() + offset)) {
        return "opened to the wrong bytes";
    }
    // The payload that was found is sealed again. The IV of CBC is random: what comes out is judged by opening it,
    // which has just been found right.
    const SealJob job{out->get(), packet.data(), known.seq, kPayloadLen, kNextHeaderIpv4};
    seal_burst(engine, {&job, 1});
    const bool repeats = info(known.suite).kind != SuiteKind::cbc_hmac;
    if (repeats ? !std::equal(answer->span().begin(), answer->span().end(), packet.begin())
                : !holds_the_payload(open(engine, **in, known.seq, packet, len), packet.data() + offset)) {
        return "sealed to the wrong bytes";
    }
    return {};
}

}  // namespace

std::expected<void, std::string> self_test(Engine& engine) { return self_test(engine, kKnownAnswers); }

std::expected<void, std::string> self_test(Engine& engine, std::span<const KnownAnswer> known_answers) {
    for (const KnownAnswer& known : known_answers) {
        if (const std::string error = run(engine, known); !error.empty()) {
            return std::unexpected("self-test of " + std::string(name(known.suite)) +
                                   (known.width == SequenceWidth::bits64 ? " with extended sequence numbers" : "") +
                                   " on " + std::string(engine.architecture()) + ": " + error);
        }
    }
    return {};
}

}  // namespace twinspan

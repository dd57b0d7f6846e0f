#include "crypto/self_test.hpp"

#include "crypto/sa.hpp"

#include <algorithm>
#include <numeric>
#include <string_view>

namespace twinspan {
namespace {

constexpr std::uint32_t kSpi = 0x1001;
constexpr std::size_t kPayloadLen = 21;  // 45 46 47 ..; needs one byte of padding
constexpr EspLayout kLayout = layout_of(Suite::aes_256_gcm);
constexpr std::size_t kOffset = payload_offset(kLayout);
constexpr std::size_t kEspLen = sealed_len(kLayout, kPayloadLen);

// Computed with OpenSSL 3.0: key 00 01 02 .., salt a0a1a2a3, IV = sequence number, next header 4.
struct KnownAnswer {
    Suite suite;
    SequenceWidth width;
    std::uint64_t seq;
    std::string_view esp_hex;
};
constexpr KnownAnswer kKnownAnswers[] = {
    {Suite::aes_128_gcm, SequenceWidth::bits32, 0x01020304,
     "00001001010203040000000001020304192d43fac41ef0d2347c88c1f2c93cc0d0a5d35b4452e209d002c91c52045d03802d91a017e1114"
     "9"},
    {Suite::aes_128_gcm, SequenceWidth::bits64, 0x0000000201020304,
     "00001001010203040000000201020304616c4110eaf2605cc6aa4347758ea264c1b7de0951955adb43d22857dd87f970abaffb1f4a3b41a"
     "9"},
    {Suite::aes_192_gcm, SequenceWidth::bits32, 0x01020304,
     "00001001010203040000000001020304134456ad7be786ec6fcac5cf332f8a10043094cd9a1513d6dcd873eff179d045bae9ed76ce27608"
     "9"},
    {Suite::aes_192_gcm, SequenceWidth::bits64, 0x0000000201020304,
     "00001001010203040000000201020304e6f517a65f3bdb3f9efefe908d3f22d967f8cc660f43235e65952e58bb2791f27c4e967250b549f"
     "8"},
    {Suite::aes_256_gcm, SequenceWidth::bits32, 0x01020304,
     "00001001010203040000000001020304ba8dcd085ba4d489f1d93fa23b7188ec8e1a57dca49da15296cd2cedab638e953e433a44dc2a0c3"
     "a"},
    {Suite::aes_256_gcm, SequenceWidth::bits64, 0x0000000201020304,
     "000010010102030400000002010203041da5d36aa257b88caea1dc074220709f761e420b2591f91f39557f06548d31d5f6832fe0341fdd7"
     "f"},
};

std::string run(Engine& engine, const KnownAnswer& known) {
    SaConfig config{
        .spi = kSpi, .suite = known.suite, .keymat = SecretBytes{keymat_len(known.suite)}, .width = known.width};
    std::uint8_t* salt = config.keymat.data() + key_len(known.suite);
    std::iota(config.keymat.data(), salt, std::uint8_t{0});
    std::iota(salt, salt + kSaltLen, std::uint8_t{0xa0});
    auto out = OutboundSa::create(engine, config);
    auto in = InboundSa::create(engine, config, ReplayWindow::kMinBits);
    auto expected = SecretBytes::from_hex(known.esp_hex);
    if (!out || !in || !expected) {
        return "cannot make an SA";
    }
    std::array<std::uint8_t, kOffset + kPayloadLen + kEspMaxRoom> packet{};
    const auto payload = packet.begin() + kOffset;
    std::iota(payload, payload + kPayloadLen, std::uint8_t{0x45});
    const auto plain = packet;

    const std::size_t len = (*out)->seal_in_place(engine, known.seq, packet.data(), kPayloadLen, kNextHeaderIpv4);
    if (len != kEspLen || !std::equal(packet.begin(), packet.begin() + kEspLen, expected->data())) {
        return "sealed to the wrong bytes";
    }
    auto changed = packet;
    changed[kEspLen - 1] ^= 1;
    if ((*in)->open_in_place(engine, known.seq, changed.data(), len).status != OpenStatus::auth_failed) {
        return "accepted a changed packet";
    }
    const Opened opened = (*in)->open_in_place(engine, known.seq, packet.data(), len);
    if (opened.status != OpenStatus::ok || opened.payload_len != kPayloadLen || opened.next_header != kNextHeaderIpv4 ||
        !std::equal(payload, payload + kPayloadLen, plain.begin() + kOffset)) {
        return "opened to the wrong bytes";
    }
    return {};
}

}  // namespace

std::expected<void, std::string> self_test(Engine& engine) {
    for (const KnownAnswer& known : kKnownAnswers) {
        if (const std::string error = run(engine, known); !error.empty()) {
            return std::unexpected("self-test of " + std::string(name(known.suite)) + " on " +
                                   std::string(engine.architecture()) + ": " + error);
        }
    }
    return {};
}

}  // namespace twinspan

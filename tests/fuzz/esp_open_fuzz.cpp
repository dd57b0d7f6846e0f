// Inbound ESP from the network: any bytes, as they are and sealed first, so that the parser behind the cipher is
// reached as well. Byte 0 of the input chooses suite and width, byte 1 how the bytes become a packet.
#include "crypto/sa.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

namespace twinspan {
namespace {

constexpr std::uint64_t kSeq = 7;
constexpr EspLayout kLayout = layout_of(Suite::aes_256_gcm);
constexpr std::size_t kPayloadOffset = payload_offset(kLayout);

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

struct Peer {
    std::unique_ptr<OutboundSa> out;
    std::unique_ptr<InboundSa> in;
    GcmKey key;  // for packets whose trailer the input writes
    SecretBytes keymat;
};

Peer make_peer(const Engine& engine, Suite suite, SequenceWidth width) {
    SaConfig config{.spi = 0x1001, .suite = suite, .keymat = SecretBytes{keymat_len(suite)}, .width = width};
    std::fill_n(config.keymat.data(), config.keymat.size(), std::uint8_t{0x6b});
    auto out = OutboundSa::create(engine, config);
    auto in = InboundSa::create(engine, config, 64);
    auto key = engine.expand(suite, config.keymat.span().first(key_len(suite)));
    require(out && in && key);
    return {std::move(*out), std::move(*in), std::move(*key), std::move(config.keymat)};
}

struct World {
    Engine engine = *Engine::create();
    std::vector<Peer> peers;
    World() {
        for (const SuiteInfo& suite : kSuites) {
            if (suite.kind != SuiteKind::gcm) {
                continue;
            }
            peers.push_back(make_peer(engine, suite.id, SequenceWidth::bits32));
            peers.push_back(make_peer(engine, suite.id, SequenceWidth::bits64));
        }
    }
};

// Exactly as long as the packet, so that AddressSanitizer sees the first byte read past it.
using Packet = std::vector<std::uint8_t>;

void open(World& world, Peer& peer, Packet packet) {
    const std::size_t len = packet.size();
    const std::uint64_t seq = len < min_len(kLayout) ? kSeq : peer.in->sequence_of(packet.data());
    (void)peer.in->replay().check(seq);
    const Opened opened = peer.in->open_in_place(world.engine, seq, packet.data(), len);
    if (opened.status == OpenStatus::ok) {
        require(kPayloadOffset + opened.payload_len + kEspTrailerMinLen + kLayout.icv_len <= len);
    } else {
        require(opened.payload_len == 0);
    }
}

// The input as plaintext: payload, padding and trailer are all the peer's.
void open_authentic(World& world, Peer& peer, std::span<const std::uint8_t> plaintext) {
    const std::size_t len = plaintext.size() / kLayout.alignment * kLayout.alignment;
    Packet packet(kPayloadOffset + len + kLayout.icv_len);
    std::uint8_t* payload = packet.data() + kPayloadOffset;
    std::copy_n(plaintext.begin(), len, payload);
    alignas(16) std::array<std::uint8_t, 16> nonce;
    alignas(16) std::array<std::uint8_t, 16> aad;
    std::uint32_t salt;
    std::memcpy(&salt, peer.keymat.data() + peer.keymat.size() - kSaltLen, sizeof salt);
    const std::uint32_t spi_be = __builtin_bswap32(peer.in->spi());
    write_esp_header(packet.data(), spi_be, kSeq);
    write_nonce(nonce.data(), salt, __builtin_bswap64(kSeq));
    write_esn_aad(aad.data(), spi_be, kSeq);
    const bool esn = peer.in->width() == SequenceWidth::bits64;
    world.engine.seal(peer.key, payload, len, nonce.data(), esn ? aad.data() : packet.data(), esn ? 12 : 8,
                      payload + len);
    Packet copy = packet;
    if (len >= kLayout.alignment) {
        require(peer.in->open_in_place(world.engine, kSeq, copy.data(), copy.size()).status != OpenStatus::auth_failed);
    }
    open(world, peer, std::move(packet));
}

// The input as payload: must come back as it was.
void round_trip(World& world, Peer& peer, std::span<const std::uint8_t> payload) {
    Packet packet(kPayloadOffset + payload.size() + kEspMaxRoom);
    std::ranges::copy(payload, packet.begin() + kPayloadOffset);
    const std::size_t len = peer.out->seal_in_place(world.engine, kSeq, packet.data(), payload.size(), kNextHeaderIpv4);
    require(len == sealed_len(kLayout, payload.size()));
    const Opened opened = peer.in->open_in_place(world.engine, kSeq, packet.data(), len);
    require(opened.status == OpenStatus::ok && opened.payload_len == payload.size());
    require(std::equal(payload.begin(), payload.end(), packet.begin() + kPayloadOffset));
}

}  // namespace
}  // namespace twinspan

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace twinspan;
    static World world;
    if (size < 2) {
        return 0;
    }
    Peer& peer = world.peers[data[0] % world.peers.size()];
    const std::span<const std::uint8_t> input{data + 2, std::min<std::size_t>(size - 2, 2048)};
    switch (data[1] % 3) {
        case 0:
            open(world, peer, Packet(input.begin(), input.end()));
            break;
        case 1:
            open_authentic(world, peer, input);
            break;
        default:
            round_trip(world, peer, input);
            break;
    }
    return 0;
}

// Inbound ESP from the network: any bytes, as they are and sealed first, so that the parser behind the cipher is
// reached as well. Byte 0 of the input chooses suite and width, byte 1 how the bytes become packets.
#include "crypto/burst.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

namespace twinspan {
namespace {

constexpr std::uint64_t kSeq = 7;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

struct Peer {
    std::unique_ptr<OutboundSa> out;
    std::unique_ptr<InboundSa> in;
};

Peer make_peer(const Engine& engine, Suite suite, SequenceWidth width) {
    SaConfig config{.spi = 0x1001, .suite = suite, .keymat = SecretBytes{keymat_len(suite)}, .width = width};
    std::fill_n(config.keymat.data(), config.keymat.size(), std::uint8_t{0x6b});
    auto out = OutboundSa::create(engine, config);
    auto in = InboundSa::create(engine, config, 64);
    require(out && in);
    return {std::move(*out), std::move(*in)};
}

struct World {
    Engine engine = *Engine::create();
    std::vector<Peer> peers;
    World() {
        for (const SuiteInfo& suite : kSuites) {
            peers.push_back(make_peer(engine, suite.id, SequenceWidth::bits32));
            peers.push_back(make_peer(engine, suite.id, SequenceWidth::bits64));
        }
    }
};

// Exactly as long as the packet, so that AddressSanitizer sees the first byte read past it.
using Packet = std::vector<std::uint8_t>;

Opened open(World& world, Peer& peer, Packet& packet) {
    const std::uint64_t seq = packet.size() < kEspHeaderLen ? kSeq : peer.in->sequence_of(packet.data());
    (void)peer.in->replay().check(seq);
    // Beside a sound one, which must not suffer.
    const EspLayout layout = peer.out->layout();
    Packet sound(payload_offset(layout) + 5 + kEspMaxRoom, 0x45);
    const SealJob seal{peer.out.get(), sound.data(), kSeq, 5, kNextHeaderIpv4};
    seal_burst(world.engine, {&seal, 1});
    sound.resize(peer.out->sealed_len(5));
    std::array<OpenJob, 2> jobs{
        OpenJob{peer.in.get(), packet.data(), seq, static_cast<std::uint32_t>(packet.size()), {}},
        OpenJob{peer.in.get(), sound.data(), kSeq, static_cast<std::uint32_t>(sound.size()), {}}};
    open_burst(world.engine, jobs);
    require(jobs[1].opened.status == OpenStatus::ok && jobs[1].opened.payload_len == 5);
    const Opened opened = jobs[0].opened;
    if (opened.status == OpenStatus::ok) {
        require(payload_offset(layout) + opened.payload_len + kEspTrailerMinLen + layout.icv_len <= packet.size());
    } else {
        require(opened.payload_len == 0);
    }
    return opened;
}

// The input as payload, sealed; returns a packet of its own length.
Packet sealed(World& world, Peer& peer, std::span<const std::uint8_t> payload) {
    const std::size_t offset = payload_offset(peer.out->layout());
    Packet packet(offset + payload.size() + kEspMaxRoom);
    std::ranges::copy(payload, packet.begin() + static_cast<std::ptrdiff_t>(offset));
    const SealJob job{peer.out.get(), packet.data(), kSeq, static_cast<std::uint32_t>(payload.size()), kNextHeaderIpv4};
    seal_burst(world.engine, {&job, 1});
    packet.resize(peer.out->sealed_len(payload.size()));
    packet.shrink_to_fit();
    return packet;
}

void round_trip(World& world, Peer& peer, std::span<const std::uint8_t> payload) {
    Packet packet = sealed(world, peer, payload);
    const Opened opened = open(world, peer, packet);
    require(opened.status == OpenStatus::ok && opened.payload_len == payload.size());
    require(std::equal(payload.begin(), payload.end(),
                       packet.begin() + static_cast<std::ptrdiff_t>(payload_offset(peer.in->layout()))));
}

// The first two bytes of the input say which bit is changed.
void one_bit_off(World& world, Peer& peer, std::span<const std::uint8_t> input) {
    Packet packet = sealed(world, peer, input);
    const std::size_t bit = (input.size() < 2 ? 0u : input[0] | unsigned{input[1]} << 8) % (8 * packet.size());
    packet[bit / 8] = static_cast<std::uint8_t>(packet[bit / 8] ^ (1u << bit % 8));
    require(open(world, peer, packet).status == OpenStatus::auth_failed);
}

// The input as plaintext: payload, padding and trailer are all the peer's, as whoever has the key may send them.
void open_authentic(World& world, Peer& peer, std::span<const std::uint8_t> plaintext) {
    const std::size_t len = plaintext.size() / 16 * 16;
    if (len == 0) {
        return;
    }
    const Packet plain(plaintext.begin(), plaintext.begin() + static_cast<std::ptrdiff_t>(len));
    const Opened opened = read_trailer(plain.data(), plain.size());
    require(opened.status != OpenStatus::auth_failed && opened.payload_len + kEspTrailerMinLen <= len);
    // A whole packet by the direct call, which GCM alone has; the other suites read their trailer with the same code.
    const SaCipher& cipher = peer.out->cipher();
    if (cipher.kind != SuiteKind::gcm) {
        return;
    }
    Packet packet(payload_offset(cipher.layout) + len + cipher.layout.icv_len);
    std::uint8_t* payload = packet.data() + payload_offset(cipher.layout);
    std::ranges::copy(plain, payload);
    alignas(16) std::array<std::uint8_t, 16> nonce, aad;
    write_esp_header(packet.data(), cipher.spi_be, kSeq);
    write_nonce(nonce.data(), cipher.salt_be, __builtin_bswap64(kSeq));
    write_esn_aad(aad.data(), cipher.spi_be, kSeq);
    const bool esn = cipher.width == SequenceWidth::bits64;
    cipher.gcm(reinterpret_cast<const gcm_key_data*>(peer.out->schedule()), world.engine.context(), payload, payload,
               len, nonce.data(), esn ? aad.data() : packet.data(), esn ? 12 : 8, payload + len, cipher.layout.icv_len);
    require(open(world, peer, packet).status == opened.status);
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
    switch (data[1] % 4) {
        case 0: {
            Packet packet(input.begin(), input.end());
            open(world, peer, packet);
            break;
        }
        case 1:
            open_authentic(world, peer, input);
            break;
        case 2:
            one_bit_off(world, peer, input);
            break;
        default:
            round_trip(world, peer, input);
            break;
    }
    return 0;
}

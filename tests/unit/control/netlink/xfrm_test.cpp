// XFRM messages as Linux 6.12 sent them for strongSwan 6.0 (keys replaced), messages made by hand, and the socket of
// the kernel that runs the test.
#include "control/netlink/attributes.hpp"
#include "control/netlink/xfrm_decode.hpp"
#include "control/netlink/xfrm_mirror.hpp"
#include "control/netlink/xfrm_requests.hpp"
#include "tests/unit/control/netlink/descriptor_limit.hpp"
#include "tests/unit/control/netlink/message_builder.hpp"

#include <gtest/gtest.h>
#include <linux/in.h>
#include <linux/xfrm.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace twinspan::netlink::test {
namespace {

std::vector<std::byte> from_hex(std::string_view text) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoi(std::string{text.substr(i, 2)}, nullptr, 16)));
    }
    return bytes;
}

constexpr const char* kInbound =
    "0c0200001a00000004000000ab0000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000ac100001000000000000000000000000c1b81f6f32000000ac1000020000000000000000"
    "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe6030000000000004c040000000000000000"
    "0000000000000000000000000000000000000000000000000000000000006658006b0000000000000000000000000000000000000000"
    "00000000000000000100000002000100200000000000000070001200726663343130362867636d286165732929000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000020010000800000000001020304050607"
    "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122239c00170020000000000000000000000000000000000000000004"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000008001f00010000000500210001000000";
constexpr const char* kOutbound =
    "800100001000000005000000ab0000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000ac100002000000000000000000000000c491c93132000000ac1000010000000000000000"
    "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffb2030000000000004c040000000000000000"
    "0000000000000000000000000000000000000000000000000000000000006658006b0000000000000000000000000000000000000000"
    "00000000000000000100000002000100200000000000000070001200726663343130362867636d286165732929000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000020010000800000000001020304050607"
    "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222310000a0000000000000000000000000008001f00010000000500"
    "210002000000";
constexpr const char* kNumbers =
    "840000001e0000000700000000000000ac100002000000000000000000000000c491c93102003200ac10000100000000000000000000"
    "0000400000000100000010000a000000000000000000000000002400090015cd5b070000000092100000000000000000000000000000"
    "000000000000000008001f00010000000500210002000000";
constexpr const char* kExpire =
    "080100001800000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000ac100002000000000000000000000000c491c93132000000ac1000010000000000000000"
    "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffb2030000000000004c040000000000000000"
    "000000000000000000000000000015cd5b07000000009210000000000000000000000000000000000000000000000000000000000000"
    "000000000000000001000000020001002000000000000000000000000000000008001f00010000000500210002000000";
constexpr const char* kDeleted =
    "9c0100001100000021000000ab000000ac100002000000000000000000000000c491c93102003200e400060000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000ac10000200000000"
    "0000000000000000c491c93132000000ac100001000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffb2030000000000004c040000000000000000000000000000000000000000000015cd5b070000000092100000"
    "000000000000000000000000000000000000000000000000000000000000000000000000010000000200010020000000000000007000"
    "1200726663343130362867636d2861657329290000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000002001000080000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021"
    "222310000a00e0930400000000000000000008001f00010000000500210002000000";

SaEvent sa_of(const std::vector<std::byte>& bytes) {
    auto event = decode_xfrm(bytes);
    EXPECT_TRUE(event && *event && std::holds_alternative<SaEvent>(**event));
    return std::get<SaEvent>(std::move(**event));
}

TEST(XfrmDecode, TheInboundSaOfAnIkeDaemon) {
    const SaEvent sa = sa_of(from_hex(kInbound));
    EXPECT_EQ(sa.id.spi, 0xc1b81f6fu);
    EXPECT_EQ(sa.id.destination, ip("172.16.0.1"));
    EXPECT_EQ(sa.source, ip("172.16.0.2"));
    EXPECT_EQ(sa.if_id, 1u);
    EXPECT_EQ(sa.direction, SaDirection::in);
    EXPECT_EQ(sa.mode, SaMode::tunnel);
    EXPECT_FALSE(sa.esn);
    EXPECT_FALSE(sa.larval);
    EXPECT_EQ(sa.algorithms.cipher, "rfc4106(gcm(aes))");
    EXPECT_EQ(sa.algorithms.icv_bits, 128u);
    ASSERT_EQ(sa.algorithms.keymat.size(), 36u);
    for (std::uint8_t i = 0; i < 36; ++i) {
        EXPECT_EQ(sa.algorithms.keymat.data()[i], i);
    }
    EXPECT_TRUE(sa.replay.extended);
    EXPECT_EQ(sa.replay.window, 1024u);
    EXPECT_EQ(sa.replay.bitmap.size(), 32u);
    EXPECT_EQ(sa.limits.soft_bytes, kNoLimit);
    EXPECT_EQ(sa.lifetime.add_time, 0x6b005866u);
    EXPECT_EQ(sa.encapsulation.source.host(), 0);
}

TEST(XfrmDecode, TheOutboundSaHasTheShortReplayState) {
    const SaEvent sa = sa_of(from_hex(kOutbound));
    EXPECT_EQ(sa.id.spi, 0xc491c931u);
    EXPECT_EQ(sa.id.destination, ip("172.16.0.2"));
    EXPECT_EQ(sa.direction, SaDirection::out);
    EXPECT_FALSE(sa.replay.extended);
    EXPECT_EQ(sa.replay.sent, 0u);
    EXPECT_EQ(sa.replay.bitmap.size(), 1u);
}

TEST(XfrmDecode, NotificationsOfNumbersExpiryAndDeletion) {
    auto numbers = decode_xfrm(from_hex(kNumbers));
    ASSERT_TRUE(numbers && *numbers && std::holds_alternative<SaCheckpoint>(**numbers));
    const auto& checkpoint = std::get<SaCheckpoint>(**numbers);
    EXPECT_EQ(checkpoint.id.spi, 0xc491c931u);
    EXPECT_EQ(checkpoint.lifetime->bytes, 123456789u);
    EXPECT_EQ(checkpoint.lifetime->packets, 4242u);
    ASSERT_TRUE(checkpoint.replay);
    EXPECT_FALSE(checkpoint.replay->extended);

    auto expire = decode_xfrm(from_hex(kExpire));
    ASSERT_TRUE(expire && *expire && std::holds_alternative<SaExpiring>(**expire));
    EXPECT_EQ(std::get<SaExpiring>(**expire).id.spi, 0xc491c931u);

    auto deleted = decode_xfrm(from_hex(kDeleted));
    ASSERT_TRUE(deleted && *deleted && std::holds_alternative<SaDeleted>(**deleted));
    EXPECT_EQ(std::get<SaDeleted>(**deleted).id, sa_of(from_hex(kOutbound)).id);
}

xfrm_usersa_info made(std::uint16_t family = AF_INET, std::uint8_t mode = XFRM_MODE_TUNNEL) {
    xfrm_usersa_info sa{};
    sa.family = family;
    sa.mode = mode;
    sa.id.proto = IPPROTO_ESP;
    sa.id.spi = __builtin_bswap32(0x1234);
    sa.lft.soft_byte_limit = 1000;
    sa.lft.hard_packet_limit = 77;
    return sa;
}

std::vector<std::byte> aead(unsigned bits, std::size_t bytes) {
    xfrm_algo_aead head{};
    std::strcpy(head.alg_name, "rfc4106(gcm(aes))");
    head.alg_key_len = bits;
    head.alg_icv_len = 96;
    std::vector<std::byte> value(sizeof head + bytes, std::byte{7});
    std::memcpy(value.data(), &head, sizeof head);
    return value;
}

TEST(XfrmDecode, EncapsulationMarkLimitsAndExtendedNumbers) {
    xfrm_usersa_info raw = made();
    raw.flags = XFRM_STATE_ESN;
    const xfrm_encap_tmpl udp{2, __builtin_bswap16(4500), __builtin_bswap16(4501), {}};
    const xfrm_mark mark{5, 0xff};
    const std::uint32_t numbers[] = {2, 10, 20, 1, 2, 64, 3, 4};
    const SaEvent sa = sa_of(MessageBuilder(XFRM_MSG_NEWSA, raw)
                                 .attr(XFRMA_ALG_AEAD, aead(160, 20))
                                 .raw(XFRMA_ENCAP, &udp, sizeof udp)
                                 .raw(XFRMA_MARK, &mark, sizeof mark)
                                 .raw(XFRMA_REPLAY_ESN_VAL, numbers, sizeof numbers)
                                 .attr(XFRMA_IF_ID, std::uint32_t{9})
                                 .bytes());
    EXPECT_TRUE(sa.esn);
    EXPECT_EQ(sa.algorithms.icv_bits, 96u);
    EXPECT_EQ(sa.algorithms.keymat.size(), 20u);
    EXPECT_EQ(sa.encapsulation.source.host(), 4500);
    EXPECT_EQ(sa.encapsulation.destination.host(), 4501);
    EXPECT_EQ(sa.id.mark_mask, 0xffu);
    EXPECT_EQ(sa.replay.sent, (std::uint64_t{1} << 32) + 10);
    EXPECT_EQ(sa.replay.highest, (std::uint64_t{2} << 32) + 20);
    EXPECT_EQ(sa.replay.bitmap, (std::vector<std::uint32_t>{3, 4}));
    EXPECT_EQ(sa.limits.soft_bytes, 1000u);
    EXPECT_EQ(sa.limits.hard_packets, 77u);
    EXPECT_EQ(sa.direction, SaDirection::unknown);
}

std::vector<std::byte> filled(const void* head, std::size_t head_bytes, std::size_t key_bytes, std::byte with) {
    std::vector<std::byte> value(head_bytes + key_bytes, with);
    std::memcpy(value.data(), head, head_bytes);
    return value;
}
std::vector<std::byte> split(const char* name, std::size_t key_bytes, std::byte with) {
    xfrm_algo head{};
    std::strcpy(head.alg_name, name);
    head.alg_key_len = static_cast<unsigned>(8 * key_bytes);
    return filled(&head, sizeof head, key_bytes, with);
}
std::vector<std::byte> truncated(const char* name, std::size_t key_bytes, unsigned bits) {
    xfrm_algo_auth head{};
    std::strcpy(head.alg_name, name);
    head.alg_key_len = static_cast<unsigned>(8 * key_bytes);
    head.alg_trunc_len = bits;
    return filled(&head, sizeof head, key_bytes, std::byte{9});
}

// RFC 7296 section 2.17: the cipher's key stands first, whatever Linux tells first.
TEST(XfrmDecode, CipherAndDigestAreOneKeyAndTheDigestsLengthIsTheTruncated) {
    for (const bool length_first : {false, true}) {
        MessageBuilder message(XFRM_MSG_NEWSA, made());
        const auto digest = split("hmac(sha256)", 32, std::byte{9});
        const auto length = truncated("hmac(sha256)", 32, 128);
        length_first ? message.attr(XFRMA_ALG_AUTH_TRUNC, length).attr(XFRMA_ALG_AUTH, digest)
                     : message.attr(XFRMA_ALG_AUTH, digest).attr(XFRMA_ALG_AUTH_TRUNC, length);
        const SaEvent sa = sa_of(message.attr(XFRMA_ALG_CRYPT, split("cbc(aes)", 16, std::byte{7})).bytes());
        EXPECT_FALSE(sa.larval);
        EXPECT_EQ(sa.algorithms.cipher, "cbc(aes)");
        EXPECT_EQ(sa.algorithms.integrity, "hmac(sha256)");
        EXPECT_EQ(sa.algorithms.text(), "cbc(aes) with hmac(sha256)");
        EXPECT_EQ(sa.algorithms.icv_bits, 128u);
        EXPECT_EQ(sa.algorithms.integrity_key_bytes, 32u);
        ASSERT_EQ(sa.algorithms.keymat.size(), 48u);
        for (std::size_t i = 0; i < 48; ++i) {
            EXPECT_EQ(sa.algorithms.keymat.data()[i], i < 16 ? 7 : 9);
        }
    }
}

TEST(XfrmDecode, WithoutALengthADigestIsCutAsLinuxCutsIt) {
    const struct {
        const char* name;
        std::uint32_t bits;
    } rows[] = {
        {"hmac(md5)", 96}, {"hmac(sha1)", 96}, {"hmac(sha256)", 96}, {"hmac(sha384)", 192}, {"hmac(sha512)", 256}};
    for (const auto& row : rows) {
        const SaEvent sa = sa_of(MessageBuilder(XFRM_MSG_NEWSA, made())
                                     .attr(XFRMA_ALG_AUTH, split(row.name, 20, std::byte{9}))
                                     .attr(XFRMA_ALG_CRYPT, split("cbc(aes)", 16, std::byte{7}))
                                     .bytes());
        EXPECT_EQ(sa.algorithms.icv_bits, row.bits) << row.name;
    }
    EXPECT_FALSE(
        sa_of(
            MessageBuilder(XFRM_MSG_NEWSA, made()).attr(XFRMA_ALG_AUTH, split("hmac(sha1)", 20, std::byte{9})).bytes())
            .larval)
        << "integrity alone is an SA to be refused by name";
}

TEST(XfrmDecode, SasBetweenIpv6Ends) {
    xfrm_usersa_info raw = made(AF_INET6);
    const IpAddress from = ip("2001:db8::1"), to = ip("2001:db8:ffff::2");
    std::memcpy(&raw.saddr, from.bytes.data(), 16);
    std::memcpy(&raw.id.daddr, to.bytes.data(), 16);
    const SaEvent sa = sa_of(MessageBuilder(XFRM_MSG_UPDSA, raw).attr(XFRMA_ALG_AEAD, aead(160, 20)).bytes());
    EXPECT_EQ(sa.source, from);
    EXPECT_EQ(sa.id.destination, to);
    xfrm_usersa_id id{};
    std::memcpy(&id.daddr, to.bytes.data(), 16);
    id.family = AF_INET6;
    id.proto = IPPROTO_ESP;
    id.spi = raw.id.spi;
    const auto deleted = decode_xfrm(MessageBuilder(XFRM_MSG_DELSA, id).bytes());
    ASSERT_TRUE(deleted && *deleted);
    EXPECT_EQ(std::get<SaDeleted>(**deleted).id, sa.id);
}

TEST(XfrmDecode, APeerThatMovedAndSasThatWereMigrated) {
    xfrm_user_mapping raw{};
    raw.id.family = AF_INET;
    raw.id.proto = IPPROTO_ESP;
    raw.id.spi = __builtin_bswap32(0x1234);
    raw.id.daddr.a4 = __builtin_bswap32(0xcb007101);
    raw.old_saddr.a4 = __builtin_bswap32(0x14330004);
    raw.new_saddr.a4 = __builtin_bswap32(0xc633644d);
    raw.old_sport = __builtin_bswap16(4500);
    raw.new_sport = __builtin_bswap16(61234);
    auto event = decode_xfrm(MessageBuilder(XFRM_MSG_MAPPING, raw).bytes());
    ASSERT_TRUE(event && *event && std::holds_alternative<SaMapped>(**event));
    const auto& mapped = std::get<SaMapped>(**event);
    EXPECT_EQ(mapped.id.spi, 0x1234u);
    EXPECT_EQ(mapped.id.destination, ip("203.0.113.1"));
    EXPECT_EQ(mapped.source, ip("198.51.100.77"));
    EXPECT_EQ(mapped.source_port.host(), 61234);
    raw.id.proto = IPPROTO_AH;
    const auto other = decode_xfrm(MessageBuilder(XFRM_MSG_MAPPING, raw).bytes());
    EXPECT_TRUE(other && !*other);
    const auto migrated = decode_xfrm(MessageBuilder(XFRM_MSG_MIGRATE, xfrm_userpolicy_id{}).bytes());
    EXPECT_TRUE(migrated && *migrated && std::holds_alternative<SasMigrated>(**migrated));
}

TEST(XfrmDecode, WhatIsReservedOrOfAnotherKindIsNoSaYet) {
    EXPECT_TRUE(sa_of(MessageBuilder(XFRM_MSG_NEWSA, made()).bytes()).larval);
    EXPECT_EQ(sa_of(MessageBuilder(XFRM_MSG_NEWSA, made(AF_INET6, XFRM_MODE_TRANSPORT)).bytes()).mode,
              SaMode::transport);
    xfrm_usersa_info ah = made();
    ah.id.proto = IPPROTO_AH;
    const auto other = decode_xfrm(MessageBuilder(XFRM_MSG_NEWSA, ah).bytes());
    EXPECT_TRUE(other && !*other);
    xfrm_user_expire hard{};
    hard.state = made();
    hard.hard = 1;
    const auto gone = decode_xfrm(MessageBuilder(XFRM_MSG_EXPIRE, hard).bytes());
    EXPECT_TRUE(gone && *gone && std::holds_alternative<SaDeleted>(**gone));
    const auto flushed = decode_xfrm(MessageBuilder(XFRM_MSG_FLUSHSA, xfrm_usersa_flush{IPPROTO_ESP}).bytes());
    EXPECT_TRUE(flushed && *flushed && std::holds_alternative<SasFlushed>(**flushed));
}

TEST(XfrmDecode, LengthsThatLieAreErrors) {
    EXPECT_FALSE(decode_xfrm(MessageBuilder(XFRM_MSG_NEWSA, made(99)).bytes()));
    EXPECT_FALSE(decode_xfrm(MessageBuilder(XFRM_MSG_NEWSA, made()).attr(XFRMA_ALG_AEAD, aead(168, 20)).bytes()));
    EXPECT_FALSE(decode_xfrm(MessageBuilder(XFRM_MSG_NEWSA, made()).attr(XFRMA_ALG_AEAD, aead(~0u, 20)).bytes()));
    for (const std::uint16_t type : {XFRMA_ALG_CRYPT, XFRMA_ALG_AUTH, XFRMA_ALG_AUTH_TRUNC}) {
        auto lies =
            type == XFRMA_ALG_AUTH_TRUNC ? truncated("hmac(sha256)", 32, 128) : split("cbc(aes)", 16, std::byte{7});
        lies.pop_back();
        EXPECT_FALSE(decode_xfrm(MessageBuilder(XFRM_MSG_NEWSA, made()).attr(type, lies).bytes())) << type;
    }
    const std::uint32_t numbers[] = {3, 0, 0, 0, 0, 64, 3, 4};
    EXPECT_FALSE(
        decode_xfrm(MessageBuilder(XFRM_MSG_NEWSA, made()).raw(XFRMA_REPLAY_ESN_VAL, numbers, sizeof numbers).bytes()));
    const std::uint32_t wide[] = {2, 0, 0, 0, 0, 65, 3, 4};
    EXPECT_FALSE(
        decode_xfrm(MessageBuilder(XFRM_MSG_NEWSA, made()).raw(XFRMA_REPLAY_ESN_VAL, wide, sizeof wide).bytes()));
    for (const char* text : {kInbound, kOutbound, kNumbers, kExpire, kDeleted}) {
        std::vector<std::byte> bytes = from_hex(text);
        for (std::size_t length = bytes.size() - 1; length > 0; length -= 1 + length / 16) {
            const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
            EXPECT_FALSE(decode_xfrm(cut)) << length;
        }
    }
}

struct Listener : XfrmListener {
    unsigned applied = 0;
    unsigned larval = 0;
    unsigned complete = 0;
    unsigned commits = 0;
    void apply(XfrmEvent event) override {
        ++applied;
        const auto* sa = std::get_if<SaEvent>(&event);
        larval += sa != nullptr && sa->larval ? 1 : 0;
    }
    void begin_dump() override {}
    void end_dump(bool whole) override { complete += whole ? 1 : 0; }
    void commit() override { ++commits; }
    void begin_audit() override { audited = 0; }
    void audit(SaEvent) override { ++audited; }
    std::uint64_t end_audit() override { return difference; }
    unsigned audited = 0;
    std::uint64_t difference = 0;
};

// In a network namespace of its own: no SA of the machine is in the way.
template <class Body>
void in_namespace(Body&& body) {
    bool entered = false;
    std::thread thread([&] {
        entered = unshare(CLONE_NEWNET) == 0;
        if (entered) {
            body();
        }
    });
    thread.join();
    if (!entered) {
        GTEST_SKIP() << "no network namespace can be made here";
    }
}

TEST(XfrmSocket, AnEmptyKernelIsDumpedAndKnowsNoSa) {
    in_namespace([] {
        Listener listener;
        std::vector<std::string> problems;
        auto mirror = XfrmMirror::open(listener, [&](std::string_view what) { problems.emplace_back(what); });
        ASSERT_TRUE(mirror) << mirror.error().what;
        EXPECT_TRUE((*mirror)->resync());
        EXPECT_EQ(listener.complete, 1u);
        EXPECT_EQ(listener.applied, 0u);
        EXPECT_TRUE(problems.empty());

        auto requests = XfrmRequests::open();
        ASSERT_TRUE(requests) << requests.error().what;
        const SaId nobody{.destination = ip("192.0.2.1"), .spi = 0x1234};
        const auto read = requests->read(nobody);
        ASSERT_FALSE(read);
        EXPECT_EQ(read.error().code, ESRCH);
        SaReplay form{.extended = true, .sent = 5, .highest = 6, .window = 32, .bitmap = {1}};
        const auto written = requests->write({.id = nobody, .replay = form, .lifetime = SaLifetime{}});
        ASSERT_FALSE(written);
        EXPECT_EQ(written.error().code, ESRCH);
        EXPECT_NE(written.error().what.find("0x00001234"), std::string::npos);
        const auto told = requests->expire(nobody, false);
        EXPECT_FALSE(told);
    });
}

// Tried ten times a second; said once, and when it is over.
TEST(XfrmSocket, ADumpThatFailsAgainAndAgainIsNamedOnce) {
    in_namespace([] {
        Listener listener;
        std::vector<std::string> lines;
        auto mirror = XfrmMirror::open(listener, [&](std::string_view what) { lines.emplace_back(what); });
        ASSERT_TRUE(mirror) << mirror.error().what;
        std::optional<DescriptorLimit> no_socket_can_be_had{0};
        for (int i = 0; i < 3; ++i) {
            EXPECT_FALSE((*mirror)->resync());
        }
        no_socket_can_be_had.reset();
        EXPECT_EQ(lines.size(), 1u);
        EXPECT_EQ((*mirror)->metrics().errors, 3u);
        EXPECT_TRUE((*mirror)->resync());
        EXPECT_TRUE((*mirror)->resync());
        ASSERT_EQ(lines.size(), 2u);
        EXPECT_NE(lines[1].find("again"), std::string::npos);
    });
}

// What a kernel without ESP can make: an SPI reserved for an SA to come, and the flush that takes it away.
struct Reserved {
    Socket socket = Socket::open_xfrm().value();

    void send(std::vector<std::byte> message, std::uint16_t flags) {
        auto header = load<nlmsghdr>(message);
        header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
        std::memcpy(message.data(), &header, sizeof header);
        ASSERT_TRUE(socket.send(message));
    }
    void reserve(std::uint32_t spi) {
        xfrm_userspi_info body{};
        body.info = made();
        body.info.id.spi = 0;
        body.info.id.daddr.a4 = 0x01020304;
        body.info.saddr.a4 = 0x01020305;
        body.min = body.max = spi;
        send(MessageBuilder(XFRM_MSG_ALLOCSPI, body).bytes(), 0);
    }
    void flush() { send(MessageBuilder(XFRM_MSG_FLUSHSA, xfrm_usersa_flush{IPPROTO_ESP}).bytes(), 0); }
};

TEST(XfrmSocket, EventsArriveAndAnOverrunLeadsToADump) {
    in_namespace([] {
        Listener listener;
        auto mirror = XfrmMirror::open(listener, {}, 4096);
        ASSERT_TRUE(mirror) << mirror.error().what;
        Reserved kernel;
        kernel.reserve(0x5000);
        kernel.flush();
        ASSERT_TRUE((*mirror)->on_readable());
        EXPECT_EQ(listener.applied, 1u) << "the flush";
        EXPECT_EQ(listener.complete, 0u);
        for (std::uint32_t i = 0; i < 300; ++i) {
            kernel.reserve(0x5000 + i);
            kernel.flush();
        }
        kernel.reserve(0x6000);
        listener.applied = 0;
        ASSERT_TRUE((*mirror)->on_readable());
        EXPECT_EQ((*mirror)->metrics().overruns, 1u);
        EXPECT_EQ(listener.complete, 1u);
        EXPECT_EQ((*mirror)->metrics().resyncs, 1u);
        EXPECT_GT(listener.larval, 0u) << "the reserved SPI is in the dump";
    });
}

// More is queued before the overrun than one call reads; none of it may undo what the dump tells.
TEST(XfrmSocket, WhatWasQueuedBeforeAnOverrunIsReadBeforeTheDump) {
    struct Order : Listener {
        unsigned late = 0;
        void apply(XfrmEvent event) override {
            late += complete != 0 && std::holds_alternative<SasFlushed>(event) ? 1 : 0;
            Listener::apply(std::move(event));
        }
    };
    in_namespace([] {
        Order listener;
        auto mirror = XfrmMirror::open(listener, {}, std::size_t{1} << 18);
        ASSERT_TRUE(mirror) << mirror.error().what;
        Reserved kernel;
        for (std::uint32_t i = 0; i < 2000; ++i) {
            kernel.reserve(0x5000 + i);
            kernel.flush();
        }
        for (unsigned calls = 0; calls < 40; ++calls) {
            ASSERT_TRUE((*mirror)->on_readable());
            (*mirror)->tick();
        }
        EXPECT_EQ((*mirror)->metrics().overruns, 1u);
        EXPECT_EQ(listener.complete, 1u);
        EXPECT_GT(listener.applied, 64u);
        EXPECT_EQ(listener.late, 0u);
    });
}

TEST(XfrmSocket, AnAuditReadsSomeAtATimeAndADifferenceLeadsToADump) {
    in_namespace([] {
        constexpr std::uint32_t kSas = 3000;
        Listener listener;
        auto opened = XfrmMirror::open(listener, {});
        ASSERT_TRUE(opened) << opened.error().what;
        XfrmMirror& mirror = **opened;
        Reserved kernel;
        for (std::uint32_t i = 0; i < kSas; ++i) {
            kernel.reserve(0x5000 + i);
        }
        const auto audit = [&] {
            unsigned most = 0;
            mirror.request_audit();
            for (unsigned before = 0; mirror.auditing(); before = listener.audited) {
                mirror.tick();
                most = std::max(most, listener.audited - before);
            }
            return most;
        };
        EXPECT_LT(audit(), kSas / 2) << "of one step";
        EXPECT_EQ(listener.audited, kSas);
        EXPECT_EQ(mirror.metrics().audits, 1u);
        EXPECT_EQ(mirror.metrics().audit_difference, 0u);
        EXPECT_EQ(listener.complete, 0u) << "no difference, no dump";
        EXPECT_EQ(listener.applied, 0u);
        listener.difference = 5;
        audit();
        EXPECT_EQ(mirror.metrics().audit_difference, 5u);
        mirror.tick();
        EXPECT_EQ(listener.complete, 1u);
        EXPECT_EQ(listener.larval, kSas);
        mirror.request_audit();
        mirror.tick();
        EXPECT_TRUE(mirror.resync());
        EXPECT_FALSE(mirror.auditing()) << "a dump says more";
        EXPECT_EQ(mirror.metrics().audits, 2u);
    });
}

TEST(XfrmSocket, AnAuditThatCannotBeginIsNamedOnce) {
    in_namespace([] {
        Listener listener;
        std::vector<std::string> lines;
        auto mirror = XfrmMirror::open(listener, [&](std::string_view what) { lines.emplace_back(what); });
        ASSERT_TRUE(mirror) << mirror.error().what;
        std::optional<DescriptorLimit> no_socket_can_be_had{0};
        for (int i = 0; i < 3; ++i) {
            (*mirror)->request_audit();
            EXPECT_FALSE((*mirror)->auditing());
        }
        no_socket_can_be_had.reset();
        EXPECT_EQ(lines.size(), 1u);
        EXPECT_EQ((*mirror)->metrics().errors, 3u);
        (*mirror)->request_audit();
        for (int i = 0; i < 3; ++i) {
            (*mirror)->tick();
        }
        EXPECT_EQ((*mirror)->metrics().audits, 1u);
        EXPECT_EQ(lines.size(), 2u);
    });
}

// The control thread would stand still for seconds, with the SAs of all other tunnels.
TEST(XfrmSocket, AnAnswerThatLinuxHasNoRoomForIsNotWaitedFor) {
    in_namespace([] {
        Reserved kernel;
        for (std::uint32_t i = 0; i < 100; ++i) {
            kernel.reserve(0x5000 + i);
        }
        const int fd = dup(STDIN_FILENO);  // the lowest that is free: the next socket's
        ASSERT_EQ(close(fd), 0);
        auto requests = XfrmRequests::open();
        ASSERT_TRUE(requests) << requests.error().what;
        const int none = 1;
        ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &none, sizeof none), 0);
        nlmsghdr dump{};
        dump.nlmsg_len = sizeof dump;
        dump.nlmsg_type = XFRM_MSG_GETSA;
        dump.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        ASSERT_EQ(send(fd, &dump, sizeof dump, 0), static_cast<ssize_t>(sizeof dump));
        const SaId nobody{.destination = ip("192.0.2.1"), .spi = 0x1234};
        const auto began = std::chrono::steady_clock::now();
        const auto lost = requests->read(nobody);
        EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds{2});
        ASSERT_FALSE(lost);
        EXPECT_EQ(lost.error().code, ENOBUFS) << lost.error().what;
        const auto again = requests->read(nobody);
        ASSERT_FALSE(again);
        EXPECT_EQ(again.error().code, ESRCH) << again.error().what;
    });
}

TEST(XfrmSocket, NumbersOfAnSaThatIsNotCompleteAreRefused) {
    in_namespace([] {
        Reserved kernel;
        kernel.reserve(0x5000);
        auto requests = XfrmRequests::open();
        ASSERT_TRUE(requests);
        SaId id{.destination = ip("4.3.2.1"), .spi = 0x5000};
        const auto written = requests->write({.id = id, .replay = SaReplay{.bitmap = {0}}, .lifetime = {}});
        ASSERT_FALSE(written);
        EXPECT_EQ(written.error().code, EINVAL) << written.error().what;
    });
}

}  // namespace
}  // namespace twinspan::netlink::test

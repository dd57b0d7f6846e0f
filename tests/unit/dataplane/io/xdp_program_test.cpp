// The XDP program in the kernel, run over single frames (BPF_PROG_TEST_RUN): no NIC is touched.
#include "dataplane/io/xdp_program.hpp"

#include "dataplane/base/descriptor.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <bpf/bpf.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace twinspan {
namespace {

using namespace test;

constexpr MacAddress kOurs{0x02, 0, 0, 0, 0, 1};
constexpr MacAddress kPeer{0x02, 0, 0, 0, 0, 2};
constexpr MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr int kDrop = 1;      // XDP_DROP
constexpr int kPass = 2;      // XDP_PASS
constexpr int kRedirect = 4;  // XDP_REDIRECT

IpPrefix prefix(const std::string& text) { return IpPrefix::parse(text).value(); }

const Steering& steering() {
    static const Steering all{
        .tunnel_addresses = {ip4("10.0.0.4"), ip4("10.0.0.5")},
        .prefixes = {{prefix("198.51.100.0/28"), SteerTo::pool},
                     {prefix("10.20.0.0/16"), SteerTo::encrypt},
                     {prefix("10.20.9.9/32"), SteerTo::linux_host},
                     {prefix("fd10:20::/64"), SteerTo::encrypt},
                     {prefix("fd10:20::9/128"), SteerTo::linux_host}},
        .tags = {{.outer_tpid = 0x8100, .outer_id = 100}, {.outer_tpid = 0x88a8, .outer_id = 7, .inner_id = 300}}};
    return all;
}

class XdpProgramTest : public testing::Test {
protected:
    void SetUp() override {
        auto program = XdpProgram::load({.mac = kOurs});
        if (!program && (errno == EPERM || errno == EACCES)) {
            GTEST_SKIP() << "NOT TESTED: BPF is not permitted here: " << program.error().what;
        }
        ASSERT_TRUE(program) << program.error().what;
        program_ = std::make_unique<XdpProgram>(std::move(*program));
        ASSERT_TRUE(program_->set(steering()));
    }
    void give_socket() {
        const std::uint32_t queue = 0;
        ASSERT_GE(socket_.get(), 0) << "AF_XDP sockets: " << std::strerror(errno);
        const int fd = socket_.get();
        ASSERT_EQ(bpf_map_update_elem(program_->sockets_map(), &queue, &fd, BPF_ANY), 0) << std::strerror(errno);
    }
    int run(const Bytes& frame) const {
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                    .data_size_in = static_cast<std::uint32_t>(frame.size()), .repeat = 1);
        const int rc = bpf_prog_test_run_opts(program_->fd(), &options);
        return rc == 0 ? static_cast<int>(options.retval) : rc;
    }
    // Exactly one counter has one more.
    Steered verdict(const Bytes& frame, int action) const {
        const SteeringCounters before = program_->counters();
        EXPECT_EQ(run(frame), action);
        const SteeringCounters after = program_->counters();
        Steered found = Steered::to_linux;
        std::uint64_t changes = 0;
        for (std::size_t i = 0; i < after.frames.size(); ++i) {
            if (after.frames[i] != before.frames[i]) {
                found = static_cast<Steered>(i);
                changes += after.frames[i] - before.frames[i];
            }
        }
        EXPECT_EQ(changes, 1u);
        return found;
    }

    std::unique_ptr<XdpProgram> program_;
    Descriptor socket_{socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)};
};

constexpr std::uint8_t kEsp = 50;
const Bytes kSealed = filler(64);  // as ESP: SPI 0x00010203

Bytes frame(const Bytes& packet, const MacAddress& dst = kOurs) { return ethernet_frame(dst, kPeer, {}, packet); }
Bytes tagged(std::initializer_list<VlanTag> tags, const Bytes& packet) {
    return ethernet_frame(kOurs, kPeer, std::vector<VlanTag>{tags}, packet);
}
constexpr VlanTag tag(std::uint16_t tpid, std::uint16_t tci) { return {to_be16(tpid), to_be16(tci)}; }
Bytes cut(Bytes bytes, std::size_t size) {
    bytes.resize(size);
    return bytes;
}
Bytes with_byte(Bytes bytes, std::size_t at, std::uint8_t value) {
    bytes[at] = value;
    return bytes;
}
Bytes esp(const std::string& dst, std::uint16_t fragment = 0, Bytes options = {}) {
    return ip_packet({.src = "20.51.0.4", .dst = dst, .fragment = fragment, .ip_options = std::move(options)}, kEsp,
                     kSealed);
}
Bytes udp(const std::string& dst, std::uint16_t port, Bytes payload, std::uint16_t fragment = 0, Bytes options = {}) {
    return udp_packet({.src = "20.51.0.4",
                       .dst = dst,
                       .src_port = 4500,
                       .dst_port = port,
                       .payload = std::move(payload),
                       .fragment = fragment,
                       .ip_options = std::move(options)});
}
Bytes tcp(const std::string& src, const std::string& dst) {
    return tcp_packet({.src = src, .dst = dst, .src_port = 50000, .dst_port = 22});
}
Bytes ike() { return {0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}; }

struct Row {
    const char* what;
    Bytes frame;
    Steered verdict;
};

std::vector<Row> rows_of_tunnels() {
    constexpr Steered kLinux = Steered::to_linux, kEspSteered = Steered::esp, kNatT = Steered::esp_in_udp;
    constexpr std::uint16_t kMore = 0x2000;
    const Bytes four_options{1, 1, 1, 0}, forty_options(40, 1);
    const Bytes nat_t = frame(udp("10.0.0.4", 4500, kSealed));
    return {
        {"ESP to a tunnel address", frame(esp("10.0.0.4")), kEspSteered},
        {"ESP to the other one", frame(esp("10.0.0.5")), kEspSteered},
        {"ESP to another address", frame(esp("10.0.0.6")), kLinux},
        {"ESP behind IP options", frame(esp("10.0.0.4", 0, four_options)), kEspSteered},
        {"first fragment of ESP", frame(esp("10.0.0.4", kMore)), kEspSteered},
        {"later fragment of ESP", frame(esp("10.0.0.4", 185)), kEspSteered},
        {"ESP to another station", frame(esp("10.0.0.4"), kPeer), kLinux},
        {"ESP to all stations", frame(esp("10.0.0.4"), kBroadcast), kLinux},
        {"ESP from Azure's platform address",
         frame(ip_packet({.src = "168.63.129.16", .dst = "10.0.0.4"}, kEsp, kSealed)), kLinux},
        {"AH", frame(ip_packet({.src = "20.51.0.4", .dst = "10.0.0.4"}, 51, kSealed)), kLinux},
        {"ESP in UDP", nat_t, kNatT},
        {"ESP in UDP behind four bytes of options", frame(udp("10.0.0.4", 4500, kSealed, 0, four_options)), kNatT},
        {"ESP in UDP behind forty", frame(udp("10.0.0.4", 4500, kSealed, 0, forty_options)), kNatT},
        {"ESP in UDP to another address", frame(udp("10.0.0.6", 4500, kSealed)), kLinux},
        {"UDP to another port", frame(udp("10.0.0.4", 4501, kSealed)), kLinux},
        {"IKE on 4500", frame(udp("10.0.0.4", 4500, ike())), kLinux},
        {"IKE on 4500 behind options", frame(udp("10.0.0.4", 4500, ike(), 0, forty_options)), kLinux},
        {"IKE on 500", frame(udp("10.0.0.4", 500, filler(28))), kLinux},
        {"keepalive", frame(udp("10.0.0.4", 4500, {0xff})), kLinux},
        {"three bytes", frame(udp("10.0.0.4", 4500, {1, 2, 3})), kLinux},
        {"three bytes and Ethernet padding", cut(frame(udp("10.0.0.4", 4500, {1, 2, 3})), 60), kLinux},
        {"keepalive and Ethernet padding", with_byte(cut(frame(udp("10.0.0.4", 4500, {0xff})), 60), 45, 9), kLinux},
        {"four bytes", frame(udp("10.0.0.4", 4500, {1, 0, 0, 0})), kNatT},
        {"no payload", frame(udp("10.0.0.4", 4500, {})), kLinux},
        {"first fragment of ESP in UDP", frame(udp("10.0.0.4", 4500, kSealed, kMore)), kNatT},
        {"first fragment of UDP that ends before the marker", cut(frame(udp("10.0.0.4", 4500, {}, kMore)), 60), kNatT},
        {"first fragment of UDP to another port", cut(frame(udp("10.0.0.4", 500, {}, kMore)), 60), kLinux},
        {"first fragment of IKE", frame(udp("10.0.0.4", 4500, ike(), kMore)), kLinux},
        {"later fragment of UDP", frame(udp("10.0.0.4", 4500, kSealed, 185)), kLinux},
        {"last fragment at offset 8 of UDP", frame(udp("10.0.0.4", 4500, kSealed, 1)), kLinux},
        {"TCP to a tunnel address", frame(tcp("20.51.0.4", "10.0.0.4")), kLinux},
        {"ICMP to a tunnel address", frame(echo_request({.src = "20.51.0.4", .dst = "10.0.0.4"})), kLinux},
        {"cut in the first payload word", cut(nat_t, 14 + 20 + 8 + 3), kLinux},
        {"cut after it", cut(nat_t, 14 + 20 + 8 + 4), kNatT},
        {"cut in the UDP header", cut(nat_t, 14 + 20 + 7), kLinux},
        {"cut in the IP header", cut(nat_t, 14 + 19), kLinux},
        {"cut after the IP header", cut(nat_t, 14 + 20), kLinux},
        {"Ethernet header alone", cut(nat_t, 14), kLinux},
        {"options beyond the frame", cut(with_byte(nat_t, 14, 0x4f), 14 + 24), kLinux},
        {"header shorter than a header", with_byte(nat_t, 14, 0x44), kLinux},
        {"IPv6 under IPv4's ethertype", with_byte(nat_t, 14, 0x65), kLinux},
    };
}

std::vector<Row> rows_of_prefixes() {
    constexpr Steered kLinux = Steered::to_linux, kPool = Steered::pool, kEncrypt = Steered::encrypt;
    const Bytes six = frame(tcp("fd30::1", "fd10:20::1"));
    return {
        {"first pool address", frame(tcp("13.107.6.1", "198.51.100.0")), kPool},
        {"last pool address", frame(tcp("13.107.6.1", "198.51.100.15")), kPool},
        {"one below the pool", frame(tcp("13.107.6.1", "198.51.99.255")), kLinux},
        {"one above the pool", frame(tcp("13.107.6.1", "198.51.100.16")), kLinux},
        {"fragment to the pool",
         frame(udp_packet({.src = "13.107.6.1", .dst = "198.51.100.1", .payload = kSealed, .fragment = 185})), kPool},
        {"ESP to the pool", frame(esp("198.51.100.1")), kPool},
        {"Azure's platform address to the pool", frame(tcp("168.63.129.16", "198.51.100.1")), kLinux},
        {"pool address of another station", frame(tcp("13.107.6.1", "198.51.100.1"), kPeer), kLinux},
        {"under encrypt", frame(tcp("10.30.0.1", "10.20.0.1")), kEncrypt},
        {"under encrypt, Linux's own address", frame(tcp("10.30.0.1", "10.20.9.9")), kLinux},
        {"under encrypt, beside Linux's own", frame(tcp("10.30.0.1", "10.20.9.8")), kEncrypt},
        {"not under encrypt", frame(tcp("10.30.0.1", "10.21.0.1")), kLinux},
        {"IPv6 under encrypt", six, kEncrypt},
        {"IPv6 under encrypt, Linux's own address", frame(tcp("fd30::1", "fd10:20::9")), kLinux},
        {"IPv6 not under encrypt", frame(tcp("fd30::1", "fd10:21::1")), kLinux},
        {"IPv6 to all nodes", frame(tcp("fe80::1", "ff02::1"), {0x33, 0x33, 0, 0, 0, 1}), kLinux},
        {"IPv6 that looks like a mapped pool address", frame(tcp("fd30::1", "::ffff:c633:6401")), kPool},
        {"IPv6 cut", cut(six, 14 + 39), kLinux},
        {"IPv6 header alone", cut(six, 14 + 40), kEncrypt},
        {"IPv4 under IPv6's ethertype", with_byte(six, 14, 0x45), kLinux},
        {"ARP", with_byte(with_byte(frame(Bytes(28)), 12, 0x08), 13, 0x06), kLinux},
        {"DHCP",
         frame(udp_packet({.src = "0.0.0.0", .dst = "255.255.255.255", .src_port = 68, .dst_port = 67}), kBroadcast),
         kLinux},
        {"SSH", frame(tcp("10.0.0.9", "10.0.0.1")), kLinux},
    };
}

std::vector<Row> rows_of_tags() {
    constexpr Steered kLinux = Steered::to_linux, kTagged = Steered::tagged;
    const Bytes packet = tcp("172.16.0.2", "172.16.0.1");
    const Bytes one = tagged({tag(0x8100, 100)}, packet);
    const Bytes two = tagged({tag(0x88a8, 7), tag(0x8100, 300)}, packet);
    return {
        {"a leg's tag", one, kTagged},
        {"with a priority", tagged({tag(0x8100, 0xe064)}, packet), kTagged},
        {"and anything in it", tagged({tag(0x8100, 100)}, {}), kTagged},
        {"another tag", tagged({tag(0x8100, 101)}, packet), kLinux},
        {"priority only", tagged({tag(0x8100, 0xe000)}, packet), kLinux},
        {"a leg's id with another ethertype", tagged({tag(0x88a8, 100)}, packet), kLinux},
        {"ESP to a tunnel address in another VLAN", tagged({tag(0x8100, 101)}, esp("10.0.0.4")), kLinux},
        {"a leg's two tags", two, kTagged},
        {"the outer of them alone", tagged({tag(0x88a8, 7)}, packet), kLinux},
        {"another inner one", tagged({tag(0x88a8, 7), tag(0x8100, 301)}, packet), kLinux},
        {"an inner one of another ethertype", tagged({tag(0x88a8, 7), tag(0x88a8, 300)}, packet), kLinux},
        {"a second tag where the leg has one", tagged({tag(0x8100, 100), tag(0x8100, 300)}, packet), kLinux},
        {"three tags", tagged({tag(0x88a8, 7), tag(0x8100, 300), tag(0x8100, 1)}, packet), kLinux},
        {"one tag, cut", cut(one, 17), kLinux},
        {"two tags, cut", cut(two, 21), kLinux},
        {"one tag, cut behind it", cut(one, 18), kTagged},
    };
}

TEST_F(XdpProgramTest, EveryFrameGoesWhereItBelongs) {
    give_socket();
    for (const auto& rows : {rows_of_tunnels(), rows_of_prefixes(), rows_of_tags()}) {
        for (const Row& row : rows) {
            SCOPED_TRACE(row.what);
            const int action = row.verdict == Steered::to_linux ? kPass : kRedirect;
            EXPECT_EQ(verdict(row.frame, action), row.verdict);
        }
    }
}

TEST_F(XdpProgramTest, WithoutASocketEverythingIsLinuxsButWhatItWouldForwardInClear) {
    EXPECT_EQ(verdict(frame(tcp("10.30.0.1", "10.20.0.1")), kDrop), Steered::no_socket);
    EXPECT_EQ(verdict(frame(tcp("10.30.0.1", "198.51.100.1")), kPass), Steered::no_socket);
    EXPECT_EQ(verdict(frame(esp("10.0.0.4")), kPass), Steered::no_socket);
    EXPECT_EQ(verdict(frame(tcp("10.0.0.9", "10.0.0.1")), kPass), Steered::to_linux);
}

TEST_F(XdpProgramTest, NothingIsSteeredBeforeSetAndAfterItIsTakenBack) {
    give_socket();
    auto fresh = XdpProgram::load({.mac = kOurs, .sockets_map = program_->sockets_map()});
    ASSERT_TRUE(fresh) << fresh.error().what;
    *program_ = std::move(*fresh);
    for (const bool before : {true, false}) {
        for (const auto& rows : {rows_of_tunnels(), rows_of_prefixes(), rows_of_tags()}) {
            for (const Row& row : rows) {
                SCOPED_TRACE(row.what);
                EXPECT_EQ(verdict(row.frame, kPass), Steered::to_linux);
            }
        }
        if (before) {
            ASSERT_TRUE(program_->set(steering()));
            EXPECT_EQ(verdict(frame(esp("10.0.0.4")), kRedirect), Steered::esp);
            ASSERT_TRUE(program_->set({}));
        }
    }
}

TEST_F(XdpProgramTest, AChangeLeavesWhatIsInBoth) {
    give_socket();
    Steering next = steering();
    next.tunnel_addresses = {ip4("10.0.0.5"), ip4("10.0.0.6")};
    next.prefixes[0].prefix = prefix("198.51.100.32/28");
    next.prefixes[2].to = SteerTo::pool;
    next.tags[0].outer_id = 200;
    ASSERT_TRUE(program_->set(next));
    EXPECT_EQ(verdict(frame(esp("10.0.0.4")), kPass), Steered::to_linux);
    EXPECT_EQ(verdict(frame(esp("10.0.0.5")), kRedirect), Steered::esp);
    EXPECT_EQ(verdict(frame(esp("10.0.0.6")), kRedirect), Steered::esp);
    EXPECT_EQ(verdict(frame(tcp("13.107.6.1", "198.51.100.1")), kPass), Steered::to_linux);
    EXPECT_EQ(verdict(frame(tcp("13.107.6.1", "198.51.100.33")), kRedirect), Steered::pool);
    EXPECT_EQ(verdict(frame(tcp("10.30.0.1", "10.20.9.9")), kRedirect), Steered::pool);
    EXPECT_EQ(verdict(frame(tcp("10.30.0.1", "10.20.0.1")), kRedirect), Steered::encrypt);
    EXPECT_EQ(verdict(tagged({tag(0x8100, 100)}, {}), kPass), Steered::to_linux);
    EXPECT_EQ(verdict(tagged({tag(0x8100, 200)}, {}), kRedirect), Steered::tagged);
}

TEST_F(XdpProgramTest, MoreThanTheMapsHoldIsAnError) {
    Steering many;
    for (std::uint32_t i = 0; i < 2000; ++i) {
        many.tunnel_addresses.push_back(to_be32(0x0a000000 + i));
    }
    const auto done = program_->set(many);
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().what.find("tunnel_addresses"), std::string::npos) << done.error().what;
}

}  // namespace
}  // namespace twinspan

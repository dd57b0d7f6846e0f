#include "dataplane/io/punt_thread.hpp"

#include "tests/eal/eal_environment.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

namespace twinspan {
namespace {

using std::chrono::milliseconds;
using testing_eal::packet;

constexpr MacAddress kMac{0x02, 0, 0, 0, 0, 0x11};
constexpr std::uint8_t kMark = 0xa5;

bool ask(const std::string& netdev, unsigned long command, ifreq& request) {
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    netdev.copy(request.ifr_name, IFNAMSIZ - 1);
    const bool done = ioctl(fd, command, &request) == 0;
    close(fd);
    return done;
}

void set_up(const std::string& netdev) {
    ifreq request{};
    request.ifr_flags = IFF_UP;
    ASSERT_TRUE(ask(netdev, SIOCSIFFLAGS, request));
}

bool has_carrier(const std::string& netdev) {
    ethtool_value link{.cmd = ETHTOOL_GLINK, .data = 0};
    ifreq request{};
    request.ifr_data = reinterpret_cast<char*>(&link);
    EXPECT_TRUE(ask(netdev, SIOCETHTOOL, request));
    return link.data != 0;
}

// Linux' side of a netdev: sees what Linux receives there, and sends.
class Tap {
public:
    explicit Tap(const std::string& netdev) : fd_(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))) {
        sockaddr_ll where{};
        where.sll_family = AF_PACKET;
        where.sll_protocol = htons(ETH_P_ALL);
        where.sll_ifindex = static_cast<int>(if_nametoindex(netdev.c_str()));
        EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
        const timeval patience{.tv_sec = 2, .tv_usec = 0};
        setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    }
    ~Tap() { close(fd_); }
    Tap(const Tap&) = delete;
    Tap& operator=(const Tap&) = delete;

    // The next marked packet that Linux received, not what it sent itself.
    std::vector<std::uint8_t> receive() {
        for (;;) {
            std::vector<std::uint8_t> bytes(4096);
            sockaddr_ll from{};
            socklen_t length = sizeof(from);
            const ssize_t got =
                recvfrom(fd_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
            if (got <= 0) {
                return {};
            }
            bytes.resize(static_cast<std::size_t>(got));
            if (from.sll_pkttype != PACKET_OUTGOING && bytes.back() == kMark) {
                return bytes;
            }
        }
    }
    bool send(const std::vector<std::uint8_t>& bytes) {
        return ::send(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
    }

private:
    int fd_;
};

std::vector<std::uint8_t> frame(std::size_t length) {
    std::vector<std::uint8_t> bytes(length, kMark);
    std::ranges::copy(kMac, bytes.begin());
    bytes[12] = 0x88;  // an ethertype for local experiments: Linux leaves it alone
    bytes[13] = 0xb5;
    return bytes;
}

rte_mbuf* to_linux(std::uint16_t netdev, const std::vector<std::uint8_t>& bytes) {
    rte_mbuf* m = packet(0, static_cast<std::uint16_t>(bytes.size()));
    std::memcpy(rte_pktmbuf_mtod(m, char*), bytes.data(), bytes.size());
    meta(*m).netdev = netdev;
    return m;
}

class PuntThreadTest : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
            GTEST_SKIP() << "NOT TESTED: netdevs need root and a network namespace of their own";
        }
        // Linux' own greetings (router solicitations and the like) would be injected, too.
        std::ofstream{"/proc/sys/net/ipv6/conf/default/disable_ipv6"} << 1;
        auto thread = PuntThread::create("punt-test", 2, testing_eal::buffers());
        ASSERT_TRUE(thread) << thread.error().what;
        punt_ = std::move(*thread);
    }
    void TearDown() override {
        if (punt_ != nullptr) {
            punt_->stop();
            const WorkerCounters& c = punt_->counters();
            std::uint64_t drops = 0;
            for (const DropInfo& d : kDropInfo) {
                drops += c[d.id].read();
            }
            EXPECT_EQ(c.rx.read() + c.injected.read(), c.tx.read() + c.punted.read() + drops);
            punt_.reset();
            EXPECT_EQ(testing_eal::buffers_free(), testing_eal::kBuffers) << "buffers leaked";
        }
    }
    std::uint16_t add(const NetdevSpec& spec) {
        auto index = punt_->add(spec);
        EXPECT_TRUE(index) << index.error().what;
        return index.value_or(kNone);
    }
    // Waits until the counter is there: the thread runs on its own.
    static bool reaches(const Counter& counter, std::uint64_t value) {
        for (unsigned i = 0; i < 200 && counter.read() < value; ++i) {
            std::this_thread::sleep_for(milliseconds(10));
        }
        return counter.read() == value;
    }

    // What a worker would get next.
    std::vector<std::uint8_t> taken(std::uint16_t worker) {
        void* taken = nullptr;
        if (rte_ring_dequeue(punt_->inject_ring(worker), &taken) != 0) {
            return {};
        }
        auto* m = static_cast<rte_mbuf*>(taken);
        const auto* bytes = rte_pktmbuf_mtod(m, const std::uint8_t*);
        std::vector<std::uint8_t> copy(bytes, bytes + m->data_len);
        rte_pktmbuf_free(m);
        return copy;
    }

    std::unique_ptr<PuntThread> punt_;
};

TEST_F(PuntThreadTest, NetdevIsAsAskedAndGoesWithItsOwner) {
    add({.name = "ts-tap", .kind = NetdevKind::tap, .mac = kMac, .mtu = 1400});
    add({.name = "ts-tun", .kind = NetdevKind::tun, .mtu = 1446});
    ifreq request{};
    ASSERT_TRUE(ask("ts-tap", SIOCGIFHWADDR, request));
    EXPECT_EQ(std::memcmp(request.ifr_hwaddr.sa_data, kMac.data(), kMac.size()), 0);
    ASSERT_TRUE(ask("ts-tap", SIOCGIFMTU, request));
    EXPECT_EQ(request.ifr_mtu, 1400);
    ASSERT_TRUE(ask("ts-tun", SIOCGIFMTU, request));
    EXPECT_EQ(request.ifr_mtu, 1446);
    ASSERT_TRUE(ask("ts-tap", SIOCGIFFLAGS, request));
    EXPECT_EQ(request.ifr_flags & IFF_UP, 0);
    set_up("ts-tap");
    EXPECT_FALSE(has_carrier("ts-tap"));
    punt_->set_carrier(0, true);
    EXPECT_TRUE(has_carrier("ts-tap"));
    punt_->set_carrier(0, false);
    EXPECT_FALSE(has_carrier("ts-tap"));
    punt_.reset();
    EXPECT_EQ(if_nametoindex("ts-tap"), 0u);
    EXPECT_EQ(if_nametoindex("ts-tun"), 0u);
}

TEST_F(PuntThreadTest, FramesGoBothWays) {
    const std::uint16_t tap = add({.name = "ts-tap", .kind = NetdevKind::tap, .mac = kMac});
    set_up("ts-tap");
    punt_->set_carrier(tap, true);
    punt_->start();
    Tap linux_side{"ts-tap"};
    for (const std::size_t length : {60u, 61u, 1514u}) {
        ASSERT_EQ(rte_ring_enqueue(punt_->punt_ring(1), to_linux(tap, frame(length))), 0);
        EXPECT_EQ(linux_side.receive(), frame(length));
    }
    EXPECT_TRUE(reaches(punt_->counters().punted, 3));

    for (const std::size_t length : {60u, 1514u}) {
        ASSERT_TRUE(linux_side.send(frame(length)));
    }
    ASSERT_TRUE(reaches(punt_->counters().tx, 2));
    EXPECT_EQ(rte_ring_count(punt_->inject_ring(1)), 0u) << "a netdev belongs to one worker";
    for (const std::size_t length : {60u, 1514u}) {
        void* taken = nullptr;
        ASSERT_EQ(rte_ring_dequeue(punt_->inject_ring(0), &taken), 0);
        auto* m = static_cast<rte_mbuf*>(taken);
        EXPECT_EQ(meta(*m).netdev, tap);
        EXPECT_EQ(meta(*m).rx_leg, kNone);
        EXPECT_EQ(m->pkt_len, length);
        const auto* bytes = rte_pktmbuf_mtod(m, const std::uint8_t*);
        EXPECT_EQ(std::vector<std::uint8_t>(bytes, bytes + m->data_len), frame(length));
        rte_pktmbuf_free(m);
    }
}

// IKE waits for control, all else goes on meanwhile, and nothing is lost with the thread's end.
TEST_F(PuntThreadTest, IkeWaitsUntilItIsReleased) {
    const std::uint16_t tap = add({.name = "ts-tap", .kind = NetdevKind::tap, .mac = kMac});
    set_up("ts-tap");
    punt_->set_carrier(tap, true);
    ASSERT_TRUE(punt_->ike().open());
    punt_->start();
    Tap linux_side{"ts-tap"};
    std::vector<std::uint8_t> ike = frame(60);
    const std::array<std::uint8_t, 24> headers{0x08, 0x00, 0x45, 0, 0, 46, 0,  0, 0, 0, 64,   17,
                                               0,    0,    10,   0, 0, 1,  10, 0, 0, 2, 0x01, 0xf4};  // from port 500
    std::ranges::copy(headers, ike.begin() + 12);

    ASSERT_TRUE(linux_side.send(ike));
    ASSERT_TRUE(linux_side.send(frame(61)));
    ASSERT_TRUE(reaches(punt_->counters().tx, 1));
    EXPECT_EQ(punt_->ike().asked(), 1u);
    EXPECT_EQ(taken(0), frame(61));
    EXPECT_EQ(rte_ring_count(punt_->inject_ring(0)), 0u);
    punt_->ike().release(1);
    ASSERT_TRUE(reaches(punt_->counters().tx, 2));
    EXPECT_EQ(taken(0), ike);
    EXPECT_EQ(punt_->ike().overdue().read(), 0u);

    ASSERT_TRUE(linux_side.send(ike));
    ASSERT_TRUE(reaches(punt_->counters().rx, 3));
    punt_->stop();
    EXPECT_EQ(taken(0), ike);
}

TEST_F(PuntThreadTest, WhatLinuxRefusesIsCounted) {
    const std::uint16_t tap = add({.name = "ts-tap", .kind = NetdevKind::tap, .mac = kMac});  // down
    punt_->start();
    ASSERT_EQ(rte_ring_enqueue(punt_->punt_ring(0), to_linux(tap, frame(60))), 0);
    ASSERT_EQ(rte_ring_enqueue(punt_->punt_ring(0), to_linux(99, frame(60))), 0);
    EXPECT_TRUE(reaches(punt_->counters()[Drop::kernel_refused], 2));
    EXPECT_EQ(punt_->counters().punted.read(), 0u);
}

TEST_F(PuntThreadTest, SlowWorkerLosesTheRestByName) {
    const std::uint16_t tap = add({.name = "ts-tap", .kind = NetdevKind::tap, .mac = kMac});
    set_up("ts-tap");
    punt_->set_carrier(tap, true);
    punt_->start();
    Tap linux_side{"ts-tap"};
    const unsigned sent = PuntThread::kRingSize + 100;
    for (unsigned i = 0; i < sent; ++i) {
        ASSERT_TRUE(linux_side.send(frame(60)));
        if (i % 100 == 0) {
            std::this_thread::sleep_for(milliseconds(2));  // Linux' own queue is 500 long
        }
    }
    EXPECT_TRUE(reaches(punt_->counters().rx, sent));
    EXPECT_EQ(punt_->counters().tx.read(), PuntThread::kRingSize - 1);
    EXPECT_EQ(punt_->counters()[Drop::inject_ring_full].read(), 101u);
}

TEST_F(PuntThreadTest, NameThatIsTakenIsRefused) {
    add({.name = "ts-tap", .kind = NetdevKind::tap, .mac = kMac});
    auto again = punt_->add({.name = "ts-tap", .kind = NetdevKind::tap, .mac = kMac});
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().what.find("ts-tap"), std::string::npos);
    EXPECT_FALSE(punt_->add({.name = "sixteen-letters!", .kind = NetdevKind::tun}));
    EXPECT_FALSE(punt_->add({.name = "", .kind = NetdevKind::tun}));
}

}  // namespace
}  // namespace twinspan

#include "dataplane/io/port.hpp"

#include "tests/eal/eal_environment.hpp"

#include <gtest/gtest.h>

#include <sched.h>
#include <unistd.h>

#include <cstdlib>

namespace twinspan {
namespace {

using testing_eal::buffers;
using testing_eal::packet;

TEST(PortTest, NullDeviceReceivesAndTransmits) {
    {
        auto port = Port::open({.name = "wan", .device = "net_null7,size=64"}, 3, 2, buffers());
        ASSERT_TRUE(port) << port.error().what;
        ASSERT_TRUE(port->start());
        EXPECT_EQ(port->info().index, 3);
        EXPECT_EQ(port->info().kernel_netdev, "");
        EXPECT_EQ(port->rx_queues(), 2);
        EXPECT_TRUE(port->link_up());
        std::array<rte_mbuf*, 8> packets;
        const RxQueue rx = port->rx_queue(1);
        ASSERT_EQ(rx.burst(rx.arg, packets.data(), 8), 8);
        for (rte_mbuf* m : packets) {
            EXPECT_EQ(m->port, 3) << "our number, not the driver's";
        }
        const TxQueue tx = port->tx_queue(0);
        EXPECT_EQ(tx.burst(tx.arg, packets.data(), 8), 8);
        EXPECT_EQ(port->stats().rx_packets, 8u);
        EXPECT_EQ(port->stats().tx_packets, 8u);
    }
    EXPECT_EQ(testing_eal::buffers_free(), testing_eal::kBuffers);
}

TEST(PortTest, UnknownDeviceIsNamed) {
    for (const char* device : {"net_nothing0", "0000:ff:1f.7", "", "net_af_packet5,iface=no-such-if"}) {
        auto port = Port::open({.name = "wan", .device = device}, 0, 1, buffers());
        ASSERT_FALSE(port) << device;
        EXPECT_NE(port.error().what.find("port wan"), std::string::npos) << port.error().what;
    }
}

class AfPacketTest : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0 ||
            std::system("ip link add ts0 type veth peer name ts1 && ip link set ts0 up && ip link set ts1 up") != 0) {
            GTEST_SKIP() << "NOT TESTED: AF_PACKET needs root, a network namespace and veth";
        }
    }
    static std::string device(int number, const char* netdev, int queues) {
        return "net_af_packet" + std::to_string(number) + ",iface=" + netdev +
               ",blocksz=4096,framesz=2048,framecnt=512,qpairs=" + std::to_string(queues);
    }
};

TEST_F(AfPacketTest, EachWorkerNeedsATransmitQueue) {
    auto port = Port::open({.name = "lan", .device = device(0, "ts0", 1)}, 0, 2, buffers());
    ASSERT_FALSE(port);
    EXPECT_NE(port.error().what.find("qpairs="), std::string::npos) << port.error().what;
}

// Frames that `left` sends come out of `right`, whatever lies between them.
void expect_frames_cross(Port& left, Port& right) {
    ASSERT_TRUE(left.start());
    ASSERT_TRUE(right.start());
    std::array<rte_mbuf*, 4> out{packet(0xee), packet(0xee), packet(0xee), packet(0xee, 1514)};
    const TxQueue tx = left.tx_queue(0);
    for (unsigned attempt = 0, sent = 0; sent < out.size() && attempt < 1000; ++attempt) {
        sent += tx.burst(tx.arg, out.data() + sent, static_cast<std::uint16_t>(out.size() - sent));
        usleep(sent < out.size() ? 1000 : 0);
    }
    unsigned marked = 0;
    for (unsigned attempt = 0; attempt < 1000 && marked < 4; ++attempt) {
        for (std::uint16_t q = 0; q < right.rx_queues(); ++q) {
            std::array<rte_mbuf*, 32> in;
            const RxQueue rx = right.rx_queue(q);
            const std::uint16_t n = rx.burst(rx.arg, in.data(), 32);
            for (std::uint16_t i = 0; i < n; ++i) {
                EXPECT_EQ(in[i]->port, right.info().index);
                marked += *rte_pktmbuf_mtod_offset(in[i], std::uint8_t*, in[i]->data_len - 1) == 0xee ? 1 : 0;
                rte_pktmbuf_free(in[i]);
            }
        }
        usleep(1000);
    }
    EXPECT_EQ(marked, 4u);
}

TEST_F(AfPacketTest, FramesCrossAVethInOneQueueOrAnother) {
    {
        auto left = Port::open({.name = "left", .device = device(1, "ts0", 1)}, 0, 1, buffers());
        auto right = Port::open({.name = "right", .device = device(2, "ts1", 2)}, 1, 2, buffers());
        ASSERT_TRUE(left) << left.error().what;
        ASSERT_TRUE(right) << right.error().what;
        EXPECT_EQ(left->info().kernel_netdev, "ts0");
        EXPECT_EQ(right->info().kernel_netdev, "ts1");
        EXPECT_EQ(right->rx_queues(), 2);
        expect_frames_cross(*left, *right);
    }
    EXPECT_EQ(testing_eal::buffers_free(), testing_eal::kBuffers);
}

TEST_F(AfPacketTest, FramesCrossToAfXdpAndBack) {
    const auto pool = make_buffer_pool("xdp", 4095);  // the driver keeps the buffers of its rings when it closes
    ASSERT_TRUE(pool) << pool.error().what;
    auto left = Port::open({.name = "left", .device = device(3, "ts0", 1)}, 0, 1, buffers());
    auto right = Port::open({.name = "right", .device = "net_af_xdp1,iface=ts1"}, 1, 1, pool->get());
    ASSERT_TRUE(left) << left.error().what;
    ASSERT_TRUE(right) << right.error().what;
    EXPECT_EQ(right->info().kernel_netdev, "ts1");
    expect_frames_cross(*left, *right);
    expect_frames_cross(*right, *left);
}

TEST(PortTest, MemifOpens) {
    const std::string socket = testing::TempDir() + "twinspan-memif-" + std::to_string(getpid()) + ".sock";
    auto port = Port::open({.name = "m", .device = "net_memif0,role=client,id=0,socket-abstract=no,socket=" + socket},
                           0, 1, buffers());
    ASSERT_TRUE(port) << port.error().what;
    EXPECT_FALSE(port->link_up()) << "nobody is at the other end";
}

TEST(PortTest, FramesCrossAPcapFile) {
    const std::string file = testing::TempDir() + "twinspan-" + std::to_string(getpid()) + ".pcap";
    {
        auto left = Port::open({.name = "left", .device = "net_pcap0,tx_pcap=" + file}, 0, 1, buffers());
        ASSERT_TRUE(left) << left.error().what;
        ASSERT_TRUE(left->start());
        rte_mbuf* out = packet(0xee, 200);
        const TxQueue tx = left->tx_queue(0);
        ASSERT_EQ(tx.burst(tx.arg, &out, 1), 1);
    }
    {
        auto right = Port::open({.name = "right", .device = "net_pcap1,rx_pcap=" + file + ",tx_pcap=" + file + ".out"},
                                1, 1, buffers());
        ASSERT_TRUE(right) << right.error().what;
        ASSERT_TRUE(right->start());
        rte_mbuf* in = nullptr;
        const RxQueue rx = right->rx_queue(0);
        ASSERT_EQ(rx.burst(rx.arg, &in, 1), 1);
        EXPECT_EQ(in->data_len, 200);
        EXPECT_EQ(*rte_pktmbuf_mtod_offset(in, std::uint8_t*, 199), 0xee);
        rte_pktmbuf_free(in);
    }
    unlink(file.c_str());
    unlink((file + ".out").c_str());
}

TEST_F(AfPacketTest, TapDeviceOpens) {
    auto port = Port::open({.name = "tap", .device = "net_tap0,iface=tstap"}, 0, 1, buffers());
    ASSERT_TRUE(port) << port.error().what;
    EXPECT_TRUE(port->start());
}

}  // namespace
}  // namespace twinspan

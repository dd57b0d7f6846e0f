// The mirror against the running kernel, in a network namespace of the test's own, with `ip` as the second witness.
#include "control/netlink/mirror.hpp"

#include "control/netlink/requests.hpp"
#include "tests/unit/control/netlink/descriptor_limit.hpp"
#include "tests/unit/control/netlink/message_builder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace twinspan::netlink {
namespace {

using nlohmann::json;
using test::ip;
using test::prefix;

std::string output_of(const std::string& command) {
    std::string out;
    FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> chunk{};
    for (std::size_t n; (n = fread(chunk.data(), 1, chunk.size(), pipe)) > 0;) {
        out.append(chunk.data(), n);
    }
    EXPECT_EQ(pclose(pipe), 0) << command;
    return out;
}

void run(const std::string& command) { output_of(command + " 2>&1"); }

class MirrorTest : public testing::Test {
protected:
    void SetUp() override {
        old_namespace_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
            std::cerr << "SKIPPED, NOT PASSED: the rtnetlink mirror needs root for a network namespace of its own\n";
            GTEST_SKIP() << "needs root";
        }
        run("ip link set lo up; ip link add a0 type veth peer name a1; ip link add b0 type veth peer name b1; "
            "ip link add x0 type veth peer name x1; for i in a0 a1 b0 b1 x0 x1; do ip link set $i up; done; "
            "for i in a0 b0 x0; do echo 0 > /proc/sys/net/ipv6/conf/$i/accept_dad; done");
    }
    void TearDown() override {
        mirror_.reset();
        EXPECT_EQ(problems_, expected_problems_);
        if (old_namespace_ >= 0) {
            EXPECT_TRUE(setns(old_namespace_, CLONE_NEWNET) == 0 || geteuid() != 0);
            close(old_namespace_);
        }
    }

    void start(const MirrorOptions& options = {}) {
        auto opened =
            Mirror::open(options, {.on_changes = [this](const KernelState&, const Changes& c) { seen_.push_back(c); },
                                   .on_problem = [this](std::string_view what) { problems_.emplace_back(what); },
                                   .on_audit = [this](const AuditReport& report) { audits_.push_back(report); },
                                   .on_foreign_device = [this](std::string_view device, std::uint64_t routes) {
            foreign_.emplace_back(device, routes);
        }});
        ASSERT_TRUE(opened) << opened.error().what;
        mirror_ = std::move(*opened);
        mirror_->watch("a0");
        mirror_->watch("b0");
        const auto synced = mirror_->resync();
        ASSERT_TRUE(synced) << synced.error().what;
    }
    // Reads until nothing comes for a while and no dump is due.
    void settle(int quiet_ms = 60) {
        for (int i = 0; i < 20000; ++i) {
            pollfd ready{mirror_->fd(), POLLIN, 0};
            if (poll(&ready, 1, quiet_ms) == 0) {
                EXPECT_TRUE(mirror_->in_sync());
                return;
            }
            ASSERT_TRUE(mirror_->on_readable());
        }
        FAIL() << "the mirror never comes to rest";
    }
    IfIndex index(const char* name) { return Requests::index_of(name).value(); }
    std::vector<NextHop> best(const char* to) {
        const auto found = mirror_->state().best_route(prefix(to));
        return found ? found->nexthops : std::vector<NextHop>{};
    }
    bool reported(const char* to) {
        return std::ranges::any_of(
            seen_, [&](const Changes& c) { return std::ranges::find(c.prefixes, prefix(to)) != c.prefixes.end(); });
    }

    // Lines "prefix metric [gateway dev weight]..." of every unicast and discarding route of table main.
    static std::multiset<std::string> by_ip() {
        std::multiset<std::string> lines;
        for (const char* family : {"-4", "-6"}) {
            const json all = json::parse(output_of(std::string("ip -j -d ") + family + " route show table main"));
            for (const json& r : all) {
                std::string to = r["dst"] == "default" ? (std::string(family) == "-4" ? "0.0.0.0/0" : "::/0")
                                                       : r["dst"].get<std::string>();
                std::multiset<std::string> hops;
                const std::string type = r.value("type", "unicast");
                const auto add = [&](const json& h) {
                    std::string via = h.value("gateway", h.contains("via") ? h["via"]["host"].get<std::string>() : "-");
                    hops.insert("[" + via + " " + h.value("dev", "") + " " + std::to_string(h.value("weight", 1)) +
                                "]");
                };
                if (r.contains("nexthops") && !r["nexthops"].empty()) {
                    for (const json& h : r["nexthops"]) {
                        add(h);
                    }
                } else if (type == "unicast") {
                    add(r);
                }
                // Kept only when it discards or a way leads through a watched device.
                const bool ours = hops.empty() || std::ranges::any_of(hops, [](const std::string& h) {
                    return h.find(" a0 ") != std::string::npos || h.find(" b0 ") != std::string::npos;
                });
                if (ours) {
                    lines.insert(line(IpPrefix::parse(to).value(), r.value("metric", 0u), type, hops));
                }
            }
        }
        return lines;
    }
    std::multiset<std::string> by_mirror() {
        std::map<IfIndex, std::string> names;
        for (const char* name : {"a0", "b0", "x0", "lo"}) {
            names[if_index_or_zero(name)] = name;
        }
        std::multiset<std::string> lines;
        mirror_->state().routes().for_each([&](const IpPrefix& to, std::span<const Route> all) {
            for (const Route& r : all) {
                if (r.table != kTableMain) {
                    continue;
                }
                std::multiset<std::string> hops;
                for (const NextHop& h : mirror_->state().nexthops_of(r)) {
                    hops.insert("[" + (h.gateway ? h.gateway->text() : "-") + " " + names[h.ifindex] + " " +
                                std::to_string(h.weight) + "]");
                }
                const std::string type = r.type == RouteType::unicast       ? "unicast"
                                         : r.type == RouteType::blackhole   ? "blackhole"
                                         : r.type == RouteType::unreachable ? "unreachable"
                                         : r.type == RouteType::prohibit    ? "prohibit"
                                                                            : "other";
                lines.insert(line(to, r.metric, type, hops));
            }
        });
        return lines;
    }
    static IfIndex if_index_or_zero(const char* name) { return Requests::index_of(name).value_or(0); }
    static std::string line(const IpPrefix& to, unsigned metric, const std::string& type,
                            const std::multiset<std::string>& hops) {
        std::string out = to.text() + " " + std::to_string(metric) + " " + type;
        for (const std::string& h : hops) {
            out += " " + h;
        }
        return out;
    }
    void expect_equal(const std::string& when) {
        settle();
        EXPECT_EQ(by_mirror(), by_ip()) << when;
    }

    std::unique_ptr<Mirror> mirror_;
    std::vector<Changes> seen_;
    std::vector<AuditReport> audits_;
    std::vector<std::pair<std::string, std::uint64_t>> foreign_;
    std::vector<std::string> problems_, expected_problems_;
    int old_namespace_ = -1;
};

TEST_F(MirrorTest, FollowsRoutesOfEveryKindAsIpSeesThem) {
    run("ip addr add 172.16.0.1/30 dev a0; ip addr add 172.16.0.5/30 dev b0; ip addr add 192.168.9.1/24 dev x0; "
        "ip -6 addr add fd01::1/64 dev a0 nodad; ip -6 addr add fd02::1/64 dev b0 nodad; "
        "ip route add 10.5.0.0/16 via 172.16.0.2 metric 7");
    start();
    expect_equal("what was there before");
    EXPECT_NE(mirror_->state().link("a0"), nullptr);
    EXPECT_EQ(mirror_->state().link("x0"), nullptr);
    EXPECT_NE(mirror_->state().address({index("a0"), prefix("172.16.0.1/30")}), nullptr);
    EXPECT_EQ(mirror_->state().best_route(prefix("172.16.0.1/32"))->type, RouteType::local);
    EXPECT_EQ(seen_.size(), 1u) << "the first dump is one batch";

    const char* const changes[] = {
        "ip route add 10.20.0.0/16 nexthop via 172.16.0.2 dev a0 weight 1 nexthop via 172.16.0.6 dev b0 weight 3",
        "ip route add 10.20.0.0/16 via 172.16.0.6 metric 200",
        "ip route add 10.20.1.0/24 via 172.16.0.2",
        "ip route replace 10.20.1.0/24 via 172.16.0.6",
        "ip route append 10.20.1.0/24 via 172.16.0.2",
        "ip route prepend 10.20.1.0/24 dev b0",
        "ip route add blackhole 10.30.0.0/16; ip route add unreachable 10.31.0.0/16; ip route add prohibit "
        "10.32.0.0/16",
        "ip route add 10.40.0.0/16 via 192.168.9.2",
        "ip route add 10.41.0.0/16 via 172.16.0.2; ip route replace 10.41.0.0/16 via 192.168.9.2",
        "ip route add default via inet6 fd01::2 dev a0",
        "ip -6 route add fd20::/48 nexthop via fd01::2 dev a0 nexthop via fd02::2 dev b0",
        "ip -6 route append fd20::/48 via fd02::3 dev b0",
        "ip -6 route del fd20::/48 via fd01::2 dev a0",
        "ip -6 route add fd21::/48 via fd01::2; ip -6 route append fd21::/48 via fd02::2",
        "ip -6 route replace fd21::/48 via fd02::9",
        "ip -6 route add fd22::/48 via fd01::2 metric 5; ip -6 route add blackhole fd23::/48",
        "ip route add 10.50.0.0/16 via 172.16.0.2 table 100",
        "ip route del 10.20.0.0/16 metric 0; ip route del blackhole 10.30.0.0/16",
        "ip -6 route del fd20::/48; ip -6 route del fd22::/48",
        "ip addr del 172.16.0.5/30 dev b0",
    };
    for (const char* change : changes) {
        run(change);
        expect_equal(change);
    }
    EXPECT_FALSE(mirror_->state().best_route(prefix("10.40.0.0/16")));
    EXPECT_FALSE(mirror_->state().best_route(prefix("10.50.0.0/16")));
    EXPECT_GE(mirror_->metrics().routes_ignored, 2u);
    EXPECT_EQ(mirror_->metrics().errors, 0u);
    EXPECT_TRUE(reported("10.20.1.0/24"));
}

TEST_F(MirrorTest, FollowsNexthopObjectsWithAndWithoutCompatibleMessages) {
    run("ip addr add 172.16.0.1/30 dev a0; ip addr add 172.16.0.5/30 dev b0");
    start();
    for (const char* compatible : {"1", "0"}) {
        run(std::string("echo ") + compatible + " > /proc/sys/net/ipv4/nexthop_compat_mode");
        run("ip nexthop add id 10 via 172.16.0.2 dev a0; ip nexthop add id 11 via 172.16.0.6 dev b0; "
            "ip nexthop add id 100 group 10/11,3; ip route add 10.20.0.0/16 nhid 100; ip route add 10.21.0.0/16 nhid "
            "10");
        settle();
        const NextHop a{ip("172.16.0.2"), index("a0"), 1, false, false};
        NextHop b{ip("172.16.0.6"), index("b0"), 3, false, false};
        EXPECT_EQ(best("10.20.0.0/16"), (std::vector{a, b})) << compatible;
        EXPECT_EQ(best("10.21.0.0/16"), (std::vector{a}));
        seen_.clear();
        run("ip nexthop replace id 100 group 11");
        settle();
        b.weight = 1;
        EXPECT_EQ(best("10.20.0.0/16"), (std::vector{b}));
        EXPECT_TRUE(reported("10.20.0.0/16"));
        EXPECT_FALSE(reported("10.21.0.0/16"));
        run("ip nexthop del id 100; ip nexthop del id 10; ip nexthop del id 11");
        settle();
        EXPECT_FALSE(mirror_->state().best_route(prefix("10.20.0.0/16")));
        EXPECT_FALSE(mirror_->state().best_route(prefix("10.21.0.0/16")));
    }
}

TEST_F(MirrorTest, LinkStateNeighboursAndDeletedDevices) {
    run("ip addr add 172.16.0.1/30 dev a0; ip addr add 172.16.0.5/30 dev b0; ip -6 addr add fd01::1/64 dev a0 nodad; "
        "ip route add 10.1.0.0/16 via 172.16.0.2; ip -6 route add fd20::/48 via fd01::2; "
        "ip route add 10.2.0.0/16 nexthop via 172.16.0.2 nexthop via 172.16.0.6");
    start();
    const IfIndex a0 = index("a0");
    EXPECT_TRUE(mirror_->state().link_usable(a0));
    run("ip link set a1 down");
    settle();
    EXPECT_FALSE(mirror_->state().link_usable(a0));
    EXPECT_TRUE(mirror_->state().link(a0)->up);
    run("ip link set a1 up; ip neigh add 172.16.0.2 lladdr 02:00:00:00:00:02 dev a0");
    settle();
    const NeighbourEvent* neighbour = mirror_->state().neighbour({a0, ip("172.16.0.2")});
    ASSERT_NE(neighbour, nullptr);
    EXPECT_TRUE(neighbour->usable);
    EXPECT_EQ(neighbour->mac, (MacAddress{2, 0, 0, 0, 0, 2}));
    run("ip link set a0 down");
    expect_equal("down: Linux drops the IPv4 routes in silence");
    EXPECT_FALSE(mirror_->state().best_route(prefix("10.1.0.0/16")));
    EXPECT_TRUE(mirror_->state().best_route(prefix("10.2.0.0/16")));
    EXPECT_EQ(mirror_->state().neighbour({a0, ip("172.16.0.2")}), nullptr);
    run("ip link set a0 up; ip route add 10.1.0.0/16 via 172.16.0.2");
    expect_equal("up again");
    run("ip link del a0");
    expect_equal("deleted");
    EXPECT_EQ(mirror_->state().link(a0), nullptr);
    const IfIndex b0 = index("b0");
    run("ip link set b0 down; ip link set b0 name c0; ip link set x0 down; ip link set x0 name a0; ip link set a0 up; "
        "ip addr add 172.16.7.1/24 dev a0; ip link set c0 up; ip route add 10.8.0.0/16 via 172.16.0.6");
    settle();
    expected_problems_ = {"netdev b0 is called c0 now; it is followed as before"};
    ASSERT_NE(mirror_->state().link("b0"), nullptr);
    EXPECT_EQ(mirror_->state().link("b0")->ifindex, b0);
    EXPECT_TRUE(mirror_->state().link("b0")->up);
    EXPECT_EQ(best("10.8.0.0/16"), (std::vector{NextHop{ip("172.16.0.6"), b0, 1, false, false}}));
    ASSERT_NE(mirror_->state().link("a0"), nullptr) << "another device took the watched name";
    EXPECT_NE(mirror_->state().address({index("a0"), prefix("172.16.7.1/24")}), nullptr);
}

TEST_F(MirrorTest, AnOverrunLeadsToADumpThatMakesItEqualAgain) {
    run("ip addr add 172.16.0.1/30 dev a0; ip addr add 172.16.0.5/30 dev b0");
    start({.receive_buffer_bytes = 4096, .event_reads_per_call = 4});
    {
        std::ofstream batch("/tmp/twinspan_mirror_test." + std::to_string(getpid()));
        for (int i = 0; i < 5000; ++i) {
            batch << "route add 10." << 20 + i / 250 << "." << i % 250 << ".0/24 via 172.16.0." << (i % 2 == 0 ? 2 : 6)
                  << "\n";
        }
    }
    const std::string file = "/tmp/twinspan_mirror_test." + std::to_string(getpid());
    run("ip -b " + file);
    settle();
    EXPECT_GE(mirror_->metrics().overruns, 1u);
    EXPECT_GE(mirror_->metrics().resyncs, 2u);
    EXPECT_GE(mirror_->state().routes().prefixes(), 5000u);
    expect_equal("5000 routes through a buffer for a few");
    run("sed -i s/add/del/ " + file + " && ip -b " + file);
    expect_equal("and all of them gone");
    EXPECT_LT(mirror_->state().routes().prefixes(), 100u);
    unlink(file.c_str());
}

// Linux removes the routes without a message; those that are there again come while the mirror still removes them.
TEST_F(MirrorTest, ALinkWithManyRoutesGoesDownAndSomeComeBackAtOnce) {
    run("ip addr add 172.16.0.1/30 dev a0; "
        "for i in $(seq 0 4999); do echo route add 10.$((i/250)).$((i%250)).0/24 via 172.16.0.2; done | ip -b -");
    start();
    ASSERT_GE(mirror_->state().routes().prefixes(), 5000u);
    run("ip link set a0 down; ip link set a0 up; "
        "for i in $(seq 0 3 4999); do echo route add 10.$((i/250)).$((i%250)).0/24 via 172.16.0.2; done | ip -b -");
    expect_equal("a third of them");
    EXPECT_GE(mirror_->state().routes().prefixes(), 1667u);
    EXPECT_LT(mirror_->state().routes().prefixes(), 1700u);
}

TEST_F(MirrorTest, ChangesDuringADumpAreNotLost) {
    run("ip addr add 172.16.0.1/30 dev a0; ip addr add 172.16.0.5/30 dev b0; "
        "for i in $(seq 0 3999); do echo route add 10.$((i/250)).$((i%250)).0/24 via 172.16.0.2; done | ip -b -");
    start({.receive_buffer_bytes = std::size_t{8} << 20, .event_reads_per_call = 1, .dump_reads_per_call = 1});
    Requests requests = Requests::open().value();
    const IfIndex b0 = index("b0");
    for (int round = 0; round < 5; ++round) {
        mirror_->request_resync();
        RouteEvent route;
        route.nexthops = {{ip("172.16.0.6"), b0, 1, false, false}};
        route.placement = RoutePlacement::replace;
        for (int i = 0; !mirror_->in_sync() || i < 40; ++i) {
            ASSERT_TRUE(mirror_->on_readable());
            const std::string to = "10." + std::to_string(i % 16) + "." + std::to_string(i % 250) + ".0/24";
            route.prefix = prefix(to.c_str());
            route.nexthops[0].gateway = ip(i % 3 == 0 ? "172.16.0.6" : "172.16.0.5");
            if (i % 4 == 3) {
                static_cast<void>(requests.remove_route(route));
            } else {
                static_cast<void>(requests.add_route(route));
            }
            ASSERT_LT(i, 100000);
        }
        expect_equal("round " + std::to_string(round));
    }
    EXPECT_GE(mirror_->metrics().resyncs, 6u);
}

TEST_F(MirrorTest, AnAuditCountsWhatTheMirrorHadWrongAndNotWhatIsOnItsWay) {
    run("ip addr add 172.16.0.1/30 dev a0; ip addr add 172.16.0.5/30 dev b0; "
        "for i in $(seq 0 999); do echo route add 10.$((i/250)).$((i%250)).0/24 via 172.16.0.2; done | ip -b -");
    start();
    const auto audit = [&] {
        mirror_->request_audit();
        settle(400);
    };
    audit();
    ASSERT_EQ(audits_.size(), 1u);
    EXPECT_EQ(audits_.back().difference, 0u);
    EXPECT_EQ(audits_.back().routes, mirror_->state().routes().size());
    // Behind the mirror's back: one missing, one too many, one with another gateway.
    auto& state = const_cast<KernelState&>(mirror_->state());
    Changes changes;
    RouteEvent route;
    route.deleted = true;
    route.prefix = prefix("10.1.1.0/24");
    route.nexthops = {{ip("172.16.0.2"), index("a0"), 1, false, false}};
    state.apply(route, changes);
    route.deleted = false;
    route.prefix = prefix("10.9.9.0/24");
    state.apply(route, changes);
    route.prefix = prefix("10.1.2.0/24");
    route.placement = RoutePlacement::replace;
    route.nexthops[0].gateway = ip("172.16.0.3");
    state.apply(route, changes);
    ASSERT_EQ(changes.prefixes.size(), 3u);
    run("ip route add 10.77.0.0/16 via 172.16.0.2");  // its event waits: no error of the mirror's
    seen_.clear();
    audit();
    ASSERT_EQ(audits_.size(), 2u);
    EXPECT_EQ(audits_.back().difference, 3u);
    EXPECT_EQ(audits_.back().example, prefix("10.1.1.0/24"));
    EXPECT_EQ(mirror_->metrics().audit_difference, 3u);
    expect_equal("put right");
    for (const char* repaired : {"10.1.1.0/24", "10.9.9.0/24", "10.1.2.0/24"}) {
        EXPECT_TRUE(reported(repaired)) << repaired;
    }
    EXPECT_FALSE(reported("10.1.3.0/24"));
    audit();
    EXPECT_EQ(audits_.back().difference, 0u);
}

// Sockets for dumps cannot be had: the daemon lives on with what it has, and dumps when it can.
TEST_F(MirrorTest, ADumpWaitsUntilTheMachineHasDescriptorsAgain) {
    run("ip addr add 172.16.0.1/30 dev a0");
    start();
    std::optional<test::DescriptorLimit> no_more{3};
    mirror_->request_resync();
    for (int i = 0; i < 20; ++i) {
        pollfd ready{mirror_->fd(), POLLIN, 0};
        poll(&ready, 1, 20);
        ASSERT_TRUE(mirror_->on_readable());
    }
    EXPECT_FALSE(mirror_->in_sync());
    EXPECT_GE(mirror_->metrics().retries, 2u);
    EXPECT_LT(mirror_->metrics().retries, 8u) << "it waits longer each time";
    no_more.reset();
    expected_problems_ = problems_;
    run("ip route add 10.5.0.0/16 via 172.16.0.2");
    settle(3500);
    expect_equal("afterwards");
    EXPECT_TRUE(mirror_->state().best_route(prefix("10.5.0.0/16")));
}

// With a million routes a dump for each link that goes would hold up what matters then.
// A management NIC may have a full table: one line says so.
TEST_F(MirrorTest, ADeviceThatIsNotOursIsNamedOnceHoweverManyRoutesItHas) {
    run("ip address add 192.0.2.1/24 dev x0; ip address add 198.51.100.1/24 dev a0;"
        "for i in $(seq 1 9); do ip route add 10.0.$i.0/24 via 192.0.2.9; done");
    start();
    ASSERT_EQ(foreign_.size(), 1u);
    EXPECT_EQ(foreign_[0].first, "x0");
    EXPECT_GE(foreign_[0].second, 10u) << "nine, and the one of its own network";
    const std::uint64_t ignored = mirror_->metrics().routes_ignored;
    run("for i in $(seq 20 29); do ip route add 10.0.$i.0/24 via 192.0.2.9; done");
    settle();
    mirror_->request_resync();
    settle();
    EXPECT_EQ(foreign_.size(), 1u);
    EXPECT_GE(mirror_->metrics().routes_ignored, ignored + 10);
    run("ip route add 10.1.0.0/16 dev lo; ip route add 10.2.0.0/16 nexthop via 192.0.2.9 nexthop via 198.51.100.9");
    settle();
    ASSERT_EQ(foreign_.size(), 2u);
    EXPECT_EQ(foreign_[1], (std::pair<std::string, std::uint64_t>{"lo", 1}));
    EXPECT_FALSE(best("10.2.0.0/16").empty()) << "one way of it is ours";
}

TEST(ForeignDevices, OnlySoManyAreNamed) {
    ForeignDevices devices;
    std::vector<std::string> named;
    const auto name = [&](std::string_view device, std::uint64_t) { named.emplace_back(device); };
    for (IfIndex i = 1; i <= 10'000; ++i) {
        NextHop hop;
        hop.ifindex = 1'000'000 + i;
        devices.count({hop});
        devices.name_new(name);
    }
    ASSERT_EQ(named.size(), ForeignDevices::kMost + 1);
    EXPECT_EQ(named.front(), "device 1000001");
    EXPECT_EQ(named.back(), "");
}

TEST_F(MirrorTest, ALinkThatNoRouteUsesCostsNoDump) {
    run("ip addr add 172.16.0.1/30 dev a0; ip addr add 172.16.0.5/30 dev b0");
    start();
    const auto before = mirror_->metrics().resyncs;
    run("ip link set a1 down");
    settle();
    EXPECT_EQ(mirror_->metrics().resyncs, before) << "carrier alone removes nothing";
    run("ip addr flush dev b0");
    settle();
    const auto flushed = mirror_->metrics().resyncs;
    run("ip link set b0 down");
    settle();
    EXPECT_EQ(mirror_->metrics().resyncs, flushed);
    expect_equal("down");
}

TEST_F(MirrorTest, RequestsDoWhatTheySay) {
    start();
    Requests requests = Requests::open().value();
    const IfIndex a0 = index("a0");
    const MacAddress mac{2, 0, 0, 0, 0, 0x55};
    ASSERT_TRUE(requests.set_up(a0, false));
    ASSERT_TRUE(requests.set_mac(a0, mac));
    ASSERT_TRUE(requests.set_up(a0, true));
    for (const char* address : {"172.16.0.1/30", "fd01::1/126"}) {
        ASSERT_TRUE(requests.add_address(a0, prefix(address)));
        EXPECT_TRUE(requests.add_address(a0, prefix(address))) << "twice is no error";
    }
    for (const char* neighbour : {"172.16.0.2", "fd01::2"}) {
        const auto asked = requests.resolve(a0, ip(neighbour));
        ASSERT_TRUE(asked) << asked.error().what;
    }
    settle();
    EXPECT_EQ(mirror_->state().link(a0)->mac, mac);
    EXPECT_FALSE(mirror_->state().address({a0, prefix("fd01::1/126")})->tentative);
    // Linux looks for them; it tells us when it has an answer or gives up, not that it began.
    const std::string asked_for = output_of("ip neigh show nud incomplete dev a0");
    EXPECT_NE(asked_for.find("172.16.0.2"), std::string::npos) << asked_for;
    EXPECT_NE(asked_for.find("fd01::2"), std::string::npos) << asked_for;
    RouteEvent route;
    route.prefix = prefix("10.20.0.0/16");
    route.nexthops = {{ip("172.16.0.2"), a0, 5, false, false}, {ip("fd01::2"), a0, 1, false, false}};
    const auto added = requests.add_route(route);
    ASSERT_TRUE(added) << added.error().what;
    expect_equal("multipath with a gateway of each family");
    std::ranges::sort(route.nexthops);
    EXPECT_EQ(best("10.20.0.0/16"), route.nexthops);
    ASSERT_TRUE(requests.remove_route(route));
    ASSERT_TRUE(requests.remove_address(a0, prefix("172.16.0.1/30")));
    expect_equal("removed");
    EXPECT_FALSE(requests.set_up(9999, true));

    const auto set = set_sysctls("a0", {.rp_filter = 2});
    ASSERT_TRUE(set) << set.error().what;
    EXPECT_EQ(output_of("cat /proc/sys/net/ipv4/conf/a0/rp_filter /proc/sys/net/ipv4/conf/a0/arp_ignore "
                        "/proc/sys/net/ipv6/conf/a0/accept_ra"),
              "2\n1\n0\n");
    EXPECT_FALSE(set_sysctls("../a0", {}));
    EXPECT_FALSE(set_sysctls("none", {}));
}

}  // namespace
}  // namespace twinspan::netlink

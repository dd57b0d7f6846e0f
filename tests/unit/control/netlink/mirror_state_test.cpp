// The mirrored state against a model of what Linux does: on events, on dumps, and on both at once with losses.
#include "control/netlink/mirror_state.hpp"

#include "tests/unit/control/netlink/message_builder.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>

namespace twinspan::netlink {
namespace {

using test::ip;
using test::prefix;

NextHop via(const char* gateway, IfIndex ifindex, std::uint16_t weight = 1) {
    return {ip(gateway), ifindex, weight, false, false};
}
NextHop on_link(IfIndex ifindex) { return {std::nullopt, ifindex, 1, false, false}; }

RouteEvent route(const char* to, std::uint32_t metric, std::vector<NextHop> hops,
                 RoutePlacement placement = RoutePlacement::insert) {
    RouteEvent event;
    event.prefix = prefix(to);
    event.metric = metric;
    event.placement = placement;
    event.nexthops = std::move(hops);
    return event;
}

RouteEvent deleted(RouteEvent event) {
    event.deleted = true;
    event.placement = RoutePlacement::insert;
    return event;
}

LinkEvent link(IfIndex ifindex, bool up, bool carrier) {
    return {ifindex, "port" + std::to_string(ifindex), up, carrier, {}, 1500, false};
}

class State : public testing::Test {
protected:
    bool changes(const Event& event) {
        Changes changes;
        state.apply(event, changes);
        return !changes.empty();
    }
    std::vector<NextHop> best(const char* to) {
        const auto found = state.best_route(prefix(to));
        return found ? found->nexthops : std::vector<NextHop>{};
    }
    KernelState state;
};

TEST_F(State, LowestMetricWinsAndLocalTableComesFirst) {
    EXPECT_TRUE(changes(route("10.20.0.0/16", 200, {via("172.16.0.6", 7)})));
    EXPECT_TRUE(changes(route("10.20.0.0/16", 20, {via("172.16.0.2", 6)})));
    EXPECT_EQ(best("10.20.0.0/16"), (std::vector<NextHop>{via("172.16.0.2", 6)}));
    RouteEvent local = route("10.20.0.0/16", 5000, {on_link(6)});
    local.table = kTableLocal;
    local.type = RouteType::local;
    EXPECT_TRUE(changes(local));
    EXPECT_EQ(state.best_route(prefix("10.20.0.0/16"))->type, RouteType::local);
    EXPECT_TRUE(changes(deleted(local)));
    EXPECT_TRUE(changes(deleted(route("10.20.0.0/16", 20, {via("172.16.0.2", 6)}))));
    EXPECT_EQ(best("10.20.0.0/16"), (std::vector<NextHop>{via("172.16.0.6", 7)}));
    EXPECT_EQ(state.routes().size(), 1u);
    EXPECT_TRUE(changes(deleted(route("10.20.0.0/16", 200, {via("172.16.0.6", 7)}))));
    EXPECT_FALSE(state.best_route(prefix("10.20.0.0/16")));
    EXPECT_EQ(state.routes().prefixes(), 0u);
}

TEST_F(State, UsableNextHopsDecideWhereLinuxIgnoresRoutesWithLinkdown) {
    changes(link(6, true, false));
    changes(link(7, true, true));
    changes(route("10.20.0.0/16", 20, {via("172.16.0.2", 6)}));
    changes(route("10.20.0.0/16", 200, {via("172.16.0.6", 7)}));
    const auto usable = [&](const NextHop& hop) { return state.link_usable(hop.ifindex); };
    EXPECT_EQ(state.best_route(prefix("10.20.0.0/16"), usable)->metric, 200u);
    EXPECT_EQ(state.best_route(prefix("10.20.0.0/16"))->metric, 20u);
    changes(link(7, true, false));
    EXPECT_EQ(state.best_route(prefix("10.20.0.0/16"), usable)->metric, 20u) << "none is usable: the first";
}

TEST_F(State, IPv4AppendPrependReplaceDelete) {
    const auto a = via("172.16.0.2", 6), b = via("172.16.0.6", 7), c = via("172.16.0.10", 8);
    changes(route("0.0.0.0/0", 0, {a}));
    EXPECT_TRUE(changes(route("0.0.0.0/0", 0, {b}, RoutePlacement::append)));
    EXPECT_EQ(best("0.0.0.0/0"), std::vector{a});
    EXPECT_TRUE(changes(route("0.0.0.0/0", 0, {c})));
    EXPECT_EQ(best("0.0.0.0/0"), std::vector{c});
    EXPECT_TRUE(changes(route("0.0.0.0/0", 0, {a, c}, RoutePlacement::replace)));
    EXPECT_EQ(best("0.0.0.0/0"), (std::vector{a, c}));
    EXPECT_EQ(state.routes().size(), 3u);
    EXPECT_FALSE(changes(deleted(route("0.0.0.0/0", 0, {c})))) << "it was replaced";
    EXPECT_TRUE(changes(deleted(route("0.0.0.0/0", 0, {a, c}))));
    EXPECT_EQ(best("0.0.0.0/0"), std::vector{a});
}

TEST_F(State, IPv6SiblingsComeTogetherAppendedOrOneByOneAndGoOneByOne) {
    const auto a = via("fe80::1", 6), b = via("fe80::2", 7), c = via("fe80::3", 7);
    changes(route("2001:db8::/32", 1024, {a}));
    EXPECT_TRUE(changes(route("2001:db8::/32", 1024, {b}, RoutePlacement::append)))
        << "an old kernel: the new one alone";
    EXPECT_EQ(best("2001:db8::/32"), (std::vector{a, b}));
    EXPECT_TRUE(changes(route("2001:db8::/32", 1024, {a, b, c}, RoutePlacement::append))) << "a new one: all of them";
    EXPECT_EQ(best("2001:db8::/32"), (std::vector{a, b, c}));
    EXPECT_EQ(state.routes().size(), 1u);
    EXPECT_FALSE(changes(route("2001:db8::/32", 1024, {a, b, c})));
    EXPECT_TRUE(changes(deleted(route("2001:db8::/32", 1024, {b}))));
    EXPECT_EQ(best("2001:db8::/32"), (std::vector{a, c}));
    EXPECT_TRUE(changes(route("2001:db8::/32", 1024, {b}, RoutePlacement::replace)));
    EXPECT_EQ(best("2001:db8::/32"), std::vector{b});
    EXPECT_TRUE(changes(deleted(route("2001:db8::/32", 1024, {b}))));
    EXPECT_EQ(state.routes().size(), 0u);
}

TEST_F(State, IPv6LinkRoutesOfOnePrefixStandSideBySide) {
    changes(route("fe80::/64", 256, {on_link(6)}));
    changes(route("fe80::/64", 256, {on_link(7)}));
    EXPECT_EQ(state.routes().size(), 2u);
    EXPECT_EQ(best("fe80::/64"), std::vector{on_link(6)}) << "IPv6 puts the later one behind";
    EXPECT_TRUE(changes(deleted(route("fe80::/64", 256, {on_link(6)}))));
    EXPECT_EQ(best("fe80::/64"), std::vector{on_link(7)});
}

TEST_F(State, LinkDownTakesIPv4RoutesThatLinuxDropsInSilence) {
    for (IfIndex i : {6u, 7u}) {
        changes(link(i, true, true));
    }
    changes(route("10.1.0.0/16", 0, {via("172.16.0.2", 6)}));
    changes(route("10.2.0.0/16", 0, {via("172.16.0.2", 6), via("172.16.0.6", 7)}));
    RouteEvent own = route("172.16.0.1/32", 0, {on_link(6)});
    own.table = kTableLocal;
    own.type = RouteType::local;
    changes(own);
    Changes changed;
    EXPECT_TRUE(state.apply(link(6, false, false), changed).has(Part::routes4));
    EXPECT_EQ(changed.links, std::vector<IfIndex>{6});
    EXPECT_EQ(changed.prefixes, std::vector{prefix("10.1.0.0/16")});
    EXPECT_FALSE(state.best_route(prefix("10.1.0.0/16")));
    EXPECT_TRUE(state.best_route(prefix("10.2.0.0/16")));
    EXPECT_TRUE(state.best_route(prefix("172.16.0.1/32")));

    LinkEvent gone = link(7, false, false);
    gone.deleted = true;
    EXPECT_TRUE(changes(AddressEvent{7, prefix("172.16.0.5/30"), false, false}));
    EXPECT_TRUE(changes(gone));
    EXPECT_FALSE(state.best_route(prefix("10.2.0.0/16"))) << "a deleted device takes the whole IPv4 route";
    EXPECT_EQ(state.address({7, prefix("172.16.0.5/30")}), nullptr);
    EXPECT_EQ(state.link(7), nullptr);
}

TEST_F(State, NexthopObjectsResolveAndTheirChangesReachTheirPrefixes) {
    NexthopEvent a{10, via("172.16.0.2", 6), false, false, {}, false};
    NexthopEvent b{11, via("172.16.0.6", 7), false, false, {}, false};
    NexthopEvent group{100, {}, false, true, {{10, 1}, {11, 3}}, false};
    for (const NexthopEvent& event : {a, b, group}) {
        changes(event);
    }
    RouteEvent by_group = route("10.20.0.0/16", 0, {});
    by_group.nexthop_id = 100;
    changes(by_group);
    changes(route("10.30.0.0/16", 0, {via("172.16.0.2", 6)}));
    EXPECT_EQ(best("10.20.0.0/16"), (std::vector{via("172.16.0.2", 6, 1), via("172.16.0.6", 7, 3)}));
    EXPECT_TRUE(state.best_route(prefix("10.20.0.0/16"))->resilient);

    Changes changed;
    b.hop = via("172.16.0.10", 7);
    state.apply(b, changed);
    EXPECT_EQ(changed.prefixes, std::vector{prefix("10.20.0.0/16")});
    EXPECT_EQ(best("10.20.0.0/16"), (std::vector{via("172.16.0.2", 6, 1), via("172.16.0.10", 7, 3)}));

    group.deleted = true;
    state.apply(group, changed);
    EXPECT_FALSE(state.best_route(prefix("10.20.0.0/16"))) << "IPv4 routes of a deleted object go in silence";
    EXPECT_TRUE(state.best_route(prefix("10.30.0.0/16")));
}

TEST_F(State, AResyncReportsOnlyWhatDiffers) {
    changes(link(6, true, true));
    changes(route("10.1.0.0/16", 0, {via("172.16.0.2", 6)}));
    changes(route("10.2.0.0/16", 0, {via("172.16.0.2", 6)}));
    changes(route("10.3.0.0/16", 0, {via("172.16.0.2", 6)}));
    changes(NeighbourEvent{6, ip("172.16.0.2"), {}, NeighbourState::reachable, true, false});
    Changes changed;
    state.begin_resync(Parts::all());
    state.apply_dumped(link(6, true, true), changed);
    state.apply_dumped(route("10.1.0.0/16", 0, {via("172.16.0.2", 6)}), changed);
    state.apply_dumped(route("10.2.0.0/16", 0, {via("172.16.0.3", 6)}), changed);
    EXPECT_TRUE(state.end_resync(changed).empty());
    changed.sort_unique();
    EXPECT_EQ(changed.prefixes, (std::vector{prefix("10.2.0.0/16"), prefix("10.3.0.0/16")}));
    EXPECT_EQ(changed.neighbours, (std::vector{NeighbourKey{6, ip("172.16.0.2")}}));
    EXPECT_TRUE(changed.links.empty());
    EXPECT_EQ(state.routes().size(), 2u);
    EXPECT_EQ(best("10.2.0.0/16"), std::vector{via("172.16.0.3", 6)});
}

TEST_F(State, AnEventWinsOverADumpThatWasReadBeforeIt) {
    const RouteEvent old = route("10.1.0.0/16", 0, {via("172.16.0.2", 6)});
    changes(old);
    changes(link(6, true, true));
    Changes changed;
    state.begin_resync(Parts::all());
    state.apply(deleted(old), changed);
    state.apply(link(6, true, false), changed);
    state.apply_dumped(old, changed);
    state.apply_dumped(link(6, true, true), changed);
    EXPECT_FALSE(state.best_route(prefix("10.1.0.0/16"))) << "not even for a moment";
    EXPECT_TRUE(state.end_resync(changed).empty());
    EXPECT_FALSE(state.best_route(prefix("10.1.0.0/16")));
    EXPECT_FALSE(state.link(6)->carrier);
}

TEST_F(State, AResyncOfSomePartsLeavesTheOthers) {
    changes(link(6, true, true));
    changes(route("10.1.0.0/16", 0, {via("172.16.0.2", 6)}));
    changes(route("2001:db8::/32", 1024, {via("fe80::1", 6)}));
    Changes changed;
    state.begin_resync(Part::routes4);
    changes(route("2001:db8:1::/48", 1024, {via("fe80::1", 6)}));
    EXPECT_TRUE(state.end_resync(changed).empty());
    EXPECT_NE(state.link(6), nullptr);
    EXPECT_FALSE(state.best_route(prefix("10.1.0.0/16")));
    EXPECT_TRUE(state.best_route(prefix("2001:db8::/32")));
    EXPECT_TRUE(state.best_route(prefix("2001:db8:1::/48")));
}

// A kernel of our own, for the property below: IPv4 keeps a list for each key, IPv6 one set of siblings and any number
// of link routes. It says what Linux says.
class ModelKernel {
public:
    explicit ModelKernel(unsigned seed) : random_(seed) {}

    // One random change, as the event that Linux sends; none if it would refuse.
    std::optional<Event> step() {
        switch (pick(6)) {
            case 0:
                return neighbour();
            case 1:
                return address();
            default:
                return pick(2) == 0 ? route4() : route6();
        }
    }

    using Key = std::pair<IpPrefix, std::uint32_t>;
    std::vector<Key> keys() const {
        std::vector<Key> all;
        for (const auto& [key, entries] : routes_) {
            all.push_back(key);
        }
        return all;
    }
    std::vector<Event> dump(const Key& key) const {
        std::vector<Event> out;
        if (const auto found = routes_.find(key); found != routes_.end()) {
            for (const auto& hops : found->second) {
                out.emplace_back(event(key, hops));
            }
        }
        return out;
    }
    std::vector<Event> dump_rest() const {
        std::vector<Event> out;
        for (const auto& [key, value] : neighbours_) {
            out.emplace_back(value);
        }
        for (const auto& [key, value] : addresses_) {
            out.emplace_back(value);
        }
        return out;
    }

private:
    using Hops = std::vector<NextHop>;

    unsigned pick(unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(random_); }
    static RouteEvent event(const Key& key, const Hops& hops) {
        RouteEvent e;
        std::tie(e.prefix, e.metric) = key;
        e.nexthops = hops;
        std::ranges::sort(e.nexthops);
        return e;
    }
    Event neighbour() {
        NeighbourEvent e{pick(2) + 6, ip(pick(2) == 0 ? "172.16.0.2" : "fe80::2"), {}, NeighbourState::reachable, true,
                         false};
        e.mac[5] = static_cast<std::uint8_t>(pick(3));
        const NeighbourKey key{e.ifindex, e.address};
        e.deleted = pick(3) == 0;
        e.deleted ? static_cast<void>(neighbours_.erase(key)) : static_cast<void>(neighbours_[key] = e);
        return e;
    }
    Event address() {
        AddressEvent e{pick(2) + 6, prefix(pick(2) == 0 ? "172.16.0.1/30" : "2001:db8::1/126"), pick(2) == 0, false};
        const AddressKey key{e.ifindex, e.prefix};
        e.deleted = pick(3) == 0;
        e.deleted ? static_cast<void>(addresses_.erase(key)) : static_cast<void>(addresses_[key] = e);
        return e;
    }
    NextHop hop(const char* base) {
        NextHop h{ip(base), pick(2) + 6, 1, false, false};
        h.gateway->bytes[h.gateway->is_v4() ? 3 : 15] = static_cast<std::uint8_t>(1 + pick(3));
        return h;
    }
    std::optional<Event> route4() {
        const Key key{prefix(pick(2) == 0 ? "10.1.0.0/16" : "10.2.0.0/16"), pick(2) * 10};
        auto& list = routes_[key];
        Hops hops{hop("172.16.0.0")};
        if (pick(2) == 0) {
            hops.push_back(hop("172.16.1.0"));
        }
        std::ranges::sort(hops);
        const auto same = std::ranges::find(list, hops);
        RouteEvent e = event(key, hops);
        const unsigned action = pick(4);
        if (action == 3) {
            if (list.empty()) {
                return std::nullopt;
            }
            const std::size_t at = pick(static_cast<unsigned>(list.size()));
            e = event(key, list[at]);
            e.deleted = true;
            list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
            return e;
        }
        if (same != list.end()) {
            return std::nullopt;
        }
        if (action == 2 && list.size() == 1) {  // with more of one key the event does not say which one went
            e.placement = RoutePlacement::replace;
            list.front() = hops;
        } else if (action == 1) {
            e.placement = RoutePlacement::append;
            list.push_back(hops);
        } else if (list.empty()) {
            list.push_front(hops);
        } else {
            return std::nullopt;
        }
        return e;
    }
    std::optional<Event> route6() {
        const Key key{prefix(pick(2) == 0 ? "2001:db8:1::/48" : "2001:db8:2::/48"), 1024};
        auto& list = routes_[key];
        const auto siblings = std::ranges::find_if(list, [](const Hops& h) { return h.front().gateway.has_value(); });
        if (pick(5) == 0) {
            const Hops hops{on_link(pick(2) + 6)};
            RouteEvent e = event(key, hops);
            const auto same = std::ranges::find(list, hops);
            e.deleted = same != list.end();
            e.deleted ? static_cast<void>(list.erase(same)) : list.push_back(hops);
            return e;
        }
        const NextHop one = hop("fe80::0");
        if (siblings == list.end()) {
            list.push_back({one});
            return event(key, {one});
        }
        const auto same = std::ranges::find(*siblings, one);
        if (same != siblings->end()) {  // goes, alone
            siblings->erase(same);
            if (siblings->empty()) {
                list.erase(siblings);
            }
            RouteEvent e = event(key, {one});
            e.deleted = true;
            return e;
        }
        const bool replace = pick(4) == 0;
        if (replace) {
            siblings->clear();
        }
        siblings->push_back(one);
        RouteEvent e = event(key, *siblings);  // Linux tells all siblings
        e.placement = replace ? RoutePlacement::replace : RoutePlacement::append;
        return e;
    }

    std::mt19937 random_;
    std::map<Key, std::deque<Hops>> routes_;
    std::map<NeighbourKey, NeighbourEvent> neighbours_;
    std::map<AddressKey, AddressEvent> addresses_;
};

// All that can be asked of a state, in a form that compares.
std::string described(const KernelState& state) {
    std::map<IpPrefix, std::string> routes;
    state.routes().for_each([&](const IpPrefix& to, std::span<const Route> all) {
        std::string& line = routes[to];
        // IPv6 link routes of one key have no order that matters.
        std::vector<std::string> parts;
        for (const Route& r : all) {
            std::string part = " metric " + std::to_string(r.metric);
            for (const NextHop& h : r.nexthops) {
                part += " [" + (h.gateway ? h.gateway->text() : "-") + " " + std::to_string(h.ifindex) + "]";
            }
            parts.push_back(part);
        }
        if (to.family() == IpFamily::v6) {
            std::ranges::sort(parts);
        }
        for (const std::string& part : parts) {
            line += part;
        }
    });
    std::string out;
    for (const auto& [to, line] : routes) {
        out += to.text() + line + "\n";
    }
    state.for_each_neighbour([&](const NeighbourEvent& n) {
        out +=
            "neighbour " + std::to_string(n.ifindex) + " " + n.address.text() + " " + std::to_string(n.mac[5]) + "\n";
    });
    state.for_each_address([&](const AddressEvent& a) {
        out += "address " + std::to_string(a.ifindex) + " " + a.prefix.text() + (a.tentative ? " tentative\n" : "\n");
    });
    return out;
}

Parts finish(KernelState& state, Changes& changes) {
    Parts again;
    while (state.busy()) {
        again |= state.work(changes);
    }
    return again;
}

void dump_all(const ModelKernel& kernel, KernelState& state) {
    Changes changes;
    state.begin_resync(Parts::all());
    for (const auto& key : kernel.keys()) {
        for (const Event& e : kernel.dump(key)) {
            state.apply_dumped(e, changes);
        }
    }
    for (const Event& e : kernel.dump_rest()) {
        state.apply_dumped(e, changes);
    }
    EXPECT_TRUE(state.end_resync(changes).empty());
    EXPECT_TRUE(finish(state, changes).empty());
}

class Property : public testing::TestWithParam<unsigned> {
protected:
    // Odd ones do everything in steps of a prefix or two.
    std::size_t step() const { return GetParam() % 2 == 0 ? RouteTable::kStep : GetParam() % 4 / 2 + 1; }
};

TEST_P(Property, EventsWithoutLossGiveWhatAFreshDumpGives) {
    ModelKernel kernel(GetParam());
    KernelState followed(step());
    std::mt19937 random(GetParam());
    Changes changes;
    for (int i = 0; i < 300; ++i) {
        if (const auto event = kernel.step()) {
            followed.apply(*event, changes);
        }
        for (unsigned n = random() % 4; n != 0 && followed.busy(); --n) {
            static_cast<void>(followed.work(changes));
        }
        if (followed.busy() && random() % 4 != 0) {
            continue;
        }
        static_cast<void>(finish(followed, changes));
        KernelState fresh;
        dump_all(kernel, fresh);
        ASSERT_EQ(described(followed), described(fresh)) << "step " << i;
        ASSERT_EQ(followed.routes().size(), fresh.routes().size());
    }
}

// Half of all events are lost. Then a dump runs, while the kernel goes on changing; its events are delivered before or
// after the parts of the dump that they concern. An abandoned dump comes first, every other time.
TEST_P(Property, LossesAndADumpUnderChangeGiveWhatAFreshDumpGives) {
    std::mt19937 random(GetParam() * 7919 + 1);
    const auto coin = [&] { return random() % 2 == 0; };
    ModelKernel kernel(GetParam());
    KernelState followed(step());
    Changes changes;
    int uncertain = 0;
    for (int round = 0; round < 20; ++round) {
        for (int i = 0; i < 40; ++i) {
            if (const auto event = kernel.step(); event && coin()) {
                followed.apply(*event, changes);
            }
        }
        std::deque<Event> in_flight;
        const auto live = [&](int steps) {
            for (int i = 0; i < steps; ++i) {
                if (const auto event = kernel.step()) {
                    in_flight.push_back(*event);
                }
            }
            while (!in_flight.empty() && coin()) {
                followed.apply(in_flight.front(), changes);
                in_flight.pop_front();
            }
        };
        for (bool complete : {!coin(), true}) {
            static_cast<void>(finish(followed, changes));
            followed.begin_resync(Parts::all());
            // Keys that come up after the walk began are dumped or not; here they are not, their events are.
            for (const auto& key : kernel.keys()) {
                const auto listed = kernel.dump(key);
                live(2);
                for (const Event& e : listed) {
                    followed.apply_dumped(e, changes);
                }
                if (!complete && coin()) {
                    break;
                }
            }
            const auto rest = kernel.dump_rest();
            live(4);
            for (const Event& e : rest) {
                followed.apply_dumped(e, changes);
            }
            if (complete) {
                break;
            }
            // The queue is read to its end before a dump starts anew.
            for (; !in_flight.empty(); in_flight.pop_front()) {
                followed.apply(in_flight.front(), changes);
            }
        }
        for (; !in_flight.empty(); in_flight.pop_front()) {
            followed.apply(in_flight.front(), changes);
        }
        Parts again = followed.end_resync(changes);
        while (followed.busy()) {
            live(coin() ? 1 : 0);
            again |= followed.work(changes);
        }
        for (; !in_flight.empty(); in_flight.pop_front()) {
            followed.apply(in_flight.front(), changes);
        }
        again |= finish(followed, changes);
        if (!again.empty()) {
            ++uncertain;
            dump_all(kernel, followed);
        }
        KernelState fresh;
        dump_all(kernel, fresh);
        ASSERT_EQ(described(followed), described(fresh)) << "round " << round;
    }
    EXPECT_LT(uncertain, 20) << "some resync must have been enough";
}

// What a resync reports is exactly what differs: applying it to a copy of what was known before gives what is known
// now.
TEST_P(Property, ChangesNameEveryPrefixThatDiffers) {
    ModelKernel kernel(GetParam());
    KernelState followed(step());
    const auto bests = [&] {
        std::map<IpPrefix, BestRoute> all;
        followed.for_each_prefix([&](const IpPrefix& p) { all.emplace(p, *followed.best_route(p)); });
        return all;
    };
    std::mt19937 random(GetParam());
    for (int round = 0; round < 50; ++round) {
        const auto before = bests();
        Changes changes;
        for (int i = 0; i < 10; ++i) {
            if (const auto event = kernel.step(); event && random() % 2 == 0) {
                followed.apply(*event, changes);
            }
        }
        static_cast<void>(finish(followed, changes));
        if (round % 3 == 0) {
            followed.begin_resync(Parts::all());
            for (const auto& key : kernel.keys()) {
                for (const Event& e : kernel.dump(key)) {
                    followed.apply_dumped(e, changes);
                }
            }
            for (const Event& e : kernel.dump_rest()) {
                followed.apply_dumped(e, changes);
            }
            EXPECT_TRUE(followed.end_resync(changes).empty());
            EXPECT_TRUE(finish(followed, changes).empty());
        }
        auto patched = before;
        for (const IpPrefix& p : changes.prefixes) {
            patched.erase(p);
            if (const auto now = followed.best_route(p)) {
                patched.emplace(p, *now);
            }
        }
        ASSERT_TRUE(patched == bests()) << "round " << round;
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Property, testing::Range(1u, 41u));

}  // namespace
}  // namespace twinspan::netlink

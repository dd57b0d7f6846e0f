// The kernel's routes of the tables main and local, by prefix. Follows what Linux does on add, append, replace and
// delete, which differs between IPv4 and IPv6, and repairs itself from a dump (mark and sweep). Prefixes with the same
// routes (next hops, metrics, protocols) share one list of them, so a full Internet table takes some 20 bytes a prefix.
// What concerns much of a large table at once is done in steps, with events in between.
#pragma once

#include "control/netlink/types.hpp"
#include "dataplane/base/prefix_map.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace twinspan::netlink {

// One route as kept. Next hops are sorted, without the kernel's linkdown and dead marks.
struct Route {
    std::uint32_t table = kTableMain;
    std::uint32_t metric = 0;
    std::uint32_t nexthop_id = 0;
    RouteType type = RouteType::unicast;
    std::uint8_t protocol = 0;
    bool confirmed = true;  // the running resync has seen it, or there is none
    std::vector<NextHop> nexthops;

    // What forwarding sees; who installed it and when it was seen do not count.
    bool same_as(const Route& other) const noexcept {
        return table == other.table && metric == other.metric && nexthop_id == other.nexthop_id && type == other.type &&
               nexthops == other.nexthops;
    }
};

enum class Families : std::uint8_t { v4 = 1, v6 = 2, both = 3 };

constexpr bool has(Families set, IpFamily family) noexcept {
    return (static_cast<unsigned>(set) & (family == IpFamily::v4 ? 1u : 2u)) != 0;
}

class RouteTable {
public:
    using Changed = std::vector<IpPrefix>;  // prefixes are appended, perhaps more than once
    using Gone = std::function<bool(const Route&)>;  // kept for later: captures nothing by reference
    static constexpr std::size_t kStep = 2048;  // prefixes; some milliseconds

    // A smaller table, and what concerns fewer, is not done in steps.
    explicit RouteTable(std::size_t step = kStep) noexcept : step_(step) {}

    // An event. Routes of other tables than main and local must not come here.
    void apply(const RouteEvent& event, Changed& changed);
    // A message of a dump, between begin_resync and end_resync. Events that arrive meanwhile win over it: the dump may
    // have read the route before or after they happened.
    void apply_dumped(const RouteEvent& event, Changed& changed);

    // `audit`: what the dump puts right is written down.
    void begin_resync(Families families, bool audit = false);
    // Removes what the dump has not shown, while work() is called. To be called when the events that came before the
    // dump's end are all applied.
    void end_resync(Changed& changed);
    // An event said "replace" of a prefix with several routes of one metric while the dump ran, and which one went
    // cannot be known. The state may be wrong in that prefix; another resync puts it right.
    [[nodiscard]] bool uncertain() noexcept { return std::exchange(uncertain_, false); }

    // One step of what end_resync(), remove_if() and report_if() have begun.
    void work(Changed& changed);
    bool busy() const noexcept { return !jobs_.empty() || sweeping_ || !rubbish_.empty(); }

    // What an audit has put right and no event has said meanwhile: complete when it is not busy any more, until the
    // next resync.
    const std::vector<IpPrefix>& repaired() const noexcept { return repaired_; }

    // Removes routes of the families that `gone` names. For what Linux removes without saying so. An event that comes
    // before its prefix's turn is later than the removal all the same. Costs a walk over the prefixes only when there
    // are such routes.
    void remove_if(Families families, Gone gone, Changed& changed);
    // Appends the prefixes whose routes `which` names.
    using Which = std::function<bool(std::span<const Route>)>;
    void report_if(Which which, Changed& changed);

    // Local table first, then main by metric; empty when there is none. Good until the next change.
    std::span<const Route> routes(const IpPrefix& prefix) const;
    bool has_length(IpFamily family, unsigned length) const noexcept { return prefixes_.has_length(family, length); }
    std::size_t prefixes() const noexcept { return prefixes_.size(); }
    std::size_t size() const noexcept { return count_; }
    std::size_t lists() const noexcept { return by_hash_.size(); }
    template <class F>  // f(std::span<const Route>), once for each list that prefixes share
    void for_each_list(F&& f) const {
        for (const List& list : lists_) {
            if (list.users != 0) {
                f(std::span<const Route>(list.routes));
            }
        }
    }

    template <class F>  // f(const IpPrefix&, std::span<const Route>)
    void for_each(F&& f) const {
        prefixes_.for_each([&](const IpPrefix& prefix, std::uint32_t value) {
            f(prefix, std::span<const Route>(lists_[value & kList].routes));
        });
    }

private:
    using Key = std::tuple<IpPrefix, std::uint32_t, std::uint32_t>;  // prefix, table, metric
    using Routes = std::vector<Route>;
    // A prefix's value: the number of its list, and what the resync has seen. Each resync has a generation of its own,
    // and so has each that never ended; when all are used up, one walk puts them in order.
    static constexpr std::uint32_t kList = (1u << 24) - 1;
    static constexpr std::uint32_t kPartial = 1u << 24;  // in this generation: some routes are confirmed, see partial_
    static constexpr std::uint32_t kGeneration = 1u << 25;  // as mark_ of its family: all its routes are confirmed
    static constexpr std::uint32_t kGenerations = 128;
    static constexpr std::uint32_t kMark = ~(kGeneration - 1);
    static constexpr std::uint32_t before(std::uint32_t mark) noexcept { return mark - kGeneration; }
    struct List {
        Routes routes;  // `confirmed` says nothing here
        std::uint32_t users = 0;
    };
    // The routes of one prefix while they change, confirmed each.
    struct Work {
        IpPrefix prefix;
        Routes routes;
        std::optional<std::uint32_t> value;  // what was stored
    };

    // remove_if() and report_if() under way.
    struct Job {
        Families families = Families::both;
        Gone gone{};  // empty: only reported
        Which which{};
        bool found = false;
        std::vector<IpPrefix> prefixes{};  // found, and not yet done: from the back
        std::unordered_set<IpPrefix> done{};  // before an event on them
    };

    Work load(const IpPrefix& prefix) const;
    void store(Work&& work);
    std::uint32_t list_of(Routes&& routes);
    void leave_list(std::uint32_t list);
    std::optional<std::uint32_t> find_list(std::span<const Route> routes, std::size_t hash) const;
    std::uint32_t& mark(IpFamily family) noexcept { return mark_[family == IpFamily::v4 ? 0 : 1]; }
    std::uint32_t mark(IpFamily family) const noexcept { return mark_[family == IpFamily::v4 ? 0 : 1]; }
    void unconfirm(IpFamily family, bool swept);
    bool settled(const IpPrefix& prefix) const;  // its routes are all confirmed, or there are none
    void settle(const IpPrefix& prefix);
    bool confirm_as_it_is(const RouteEvent& event, const Route& route);

    void add(const RouteEvent& event, Changed& changed);
    void add_dumped(const RouteEvent& event, Changed& changed);
    void remove(const RouteEvent& event, Changed& changed);
    Routes::iterator replaced_by(Routes& all, const IpPrefix& prefix, const Route& route, bool may_be_old);
    void replay(const std::vector<RouteEvent>& events, Changed& changed);
    void begin(Job job, Changed& changed);
    void work_on(Job& job, Changed& changed);
    void find(Job& job) const;
    void remove(const Job& job, const IpPrefix& prefix, Changed& changed);
    void find_unseen();
    void sweep(const IpPrefix& prefix, Changed& changed);
    void end_sweep();
    void throw_away(std::map<Key, std::vector<RouteEvent>> events);
    bool sweeps(IpFamily family) const noexcept { return resyncing_ && has(resync_families_, family); }

    PrefixMap prefixes_;
    std::deque<List> lists_;
    std::vector<std::uint32_t> free_lists_;
    std::unordered_multimap<std::size_t, std::uint32_t> by_hash_;
    std::array<std::uint32_t, 2> mark_{};  // a generation
    std::array<std::uint32_t, 2> generations_{1, 1};  // in use, mark_ the last of them
    std::unordered_map<IpPrefix, std::vector<bool>> partial_;
    std::map<Key, std::vector<RouteEvent>> events_;  // during a resync: what happened meanwhile, in order
    std::vector<IpPrefix> repaired_;
    std::vector<IpPrefix> unseen_;  // to be swept, from the back
    std::deque<Job> jobs_;
    std::deque<std::map<Key, std::vector<RouteEvent>>> rubbish_;  // to be freed, which takes time too
    std::size_t step_;
    std::size_t count_ = 0;
    bool audit_ = false;
    bool uncertain_ = false;
    Families resync_families_ = Families::both;
    bool resyncing_ = false;
    bool sweeping_ = false;  // the dump has ended
    bool unseen_found_ = false;
};

}  // namespace twinspan::netlink

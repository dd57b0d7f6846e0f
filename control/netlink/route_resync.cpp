// What concerns many routes of the table at once: resyncs (mark and sweep), and what Linux removes without saying so.
#include "control/netlink/route_table.hpp"

#include <algorithm>
#include <utility>

namespace twinspan::netlink {

void RouteTable::begin_resync(Families families, bool audit) {
    // What was logged in a resync that never ended holds no longer: its dump starts anew, after those events.
    throw_away(std::exchange(events_, {}));
    repaired_.clear();
    unseen_.clear();
    uncertain_ = false;
    for (const IpFamily family : {IpFamily::v4, IpFamily::v6}) {
        unconfirm(family, has(families, family));
    }
    partial_.clear();
    resync_families_ = families;
    resyncing_ = true;
    sweeping_ = false;
    audit_ = audit;
}

// The next generation is enough while no entry has it.
void RouteTable::unconfirm(IpFamily family, bool swept) {
    std::uint32_t& used = generations_[family == IpFamily::v4 ? 0 : 1];
    const bool never_ended = sweeps(family);
    used = never_ended ? used : 1;
    if (swept && used < kGenerations) {
        mark(family) += kGeneration;
        ++used;
        return;
    }
    if (!never_ended && !swept) {
        return;
    }
    const std::uint32_t all = swept ? before(mark(family)) : mark(family);
    used = swept ? 2 : 1;
    prefixes_.for_each(family, [&](const IpPrefix&, std::uint32_t& value) { value = (value & kList) | all; });
}

bool RouteTable::settled(const IpPrefix& prefix) const {
    const std::uint32_t* value = prefixes_.find(prefix);
    return value == nullptr || (*value & ~kList) == mark(prefix.family());
}

void RouteTable::settle(const IpPrefix& prefix) {
    if (std::uint32_t* value = prefixes_.find(prefix)) {
        if ((*value & kPartial) != 0) {
            partial_.erase(prefix);
        }
        *value = (*value & kList) | mark(prefix.family());
    }
}

void RouteTable::end_resync(Changed& changed) {
    sweeping_ = resyncing_;
    unseen_found_ = false;
    while (sweeping_ && prefixes_.size() <= step_) {
        work(changed);
    }
}

void RouteTable::work(Changed& changed) {
    if (!jobs_.empty()) {
        work_on(jobs_.front(), changed);
        if (jobs_.front().found && jobs_.front().prefixes.empty()) {
            jobs_.pop_front();
        }
    } else if (sweeping_ && !unseen_found_) {
        find_unseen();
    } else if (sweeping_) {
        for (std::size_t n = 0; n < step_ && !unseen_.empty(); ++n, unseen_.pop_back()) {
            sweep(unseen_.back(), changed);
        }
        if (unseen_.empty()) {
            end_sweep();
        }
    } else if (!rubbish_.empty()) {
        auto& oldest = rubbish_.front();
        for (std::size_t n = 0; n < step_ && !oldest.empty(); ++n) {
            oldest.erase(oldest.begin());
        }
        if (oldest.empty()) {
            rubbish_.pop_front();
        }
    }
}

void RouteTable::find_unseen() {
    unseen_.clear();
    for (const IpFamily family : {IpFamily::v4, IpFamily::v6}) {
        if (sweeps(family)) {
            prefixes_.for_each(family, [&](const IpPrefix& prefix, std::uint32_t& value) {
                if ((value & ~kList) != mark(family)) {
                    unseen_.push_back(prefix);
                }
            });
        }
    }
    unseen_found_ = true;
}

// Events have said of it what the dump has not shown: they go on from what it has.
void RouteTable::sweep(const IpPrefix& prefix, Changed& changed) {
    if (settled(prefix)) {
        return;  // an event has made it anew since it was found
    }
    Work work = load(prefix);
    if (std::erase_if(work.routes, [](const Route& route) { return !route.confirmed; }) != 0) {
        changed.push_back(prefix);
        if (audit_) {
            repaired_.push_back(prefix);
        }
        store(std::move(work));
    }
    for (auto it = events_.lower_bound(Key{prefix, 0, 0}); it != events_.end() && std::get<0>(it->first) == prefix;
         ++it) {
        replay(it->second, changed);
    }
    settle(prefix);
}

void RouteTable::end_sweep() {
    // What events have said meanwhile is not the mirror's error.
    std::erase_if(repaired_, [&](const IpPrefix& prefix) {
        const auto first = events_.lower_bound(Key{prefix, 0, 0});
        return first != events_.end() && std::get<0>(first->first) == prefix;
    });
    throw_away(std::exchange(events_, {}));
    unseen_ = {};
    partial_.clear();
    resyncing_ = sweeping_ = false;
}

void RouteTable::throw_away(std::map<Key, std::vector<RouteEvent>> events) {
    if (events.size() > step_) {
        rubbish_.push_back(std::move(events));
    }
}

void RouteTable::remove_if(Families families, Gone gone, Changed& changed) {
    Which which = [gone](std::span<const Route> routes) { return std::ranges::any_of(routes, gone); };
    begin({.families = families, .gone = std::move(gone), .which = std::move(which)}, changed);
}

void RouteTable::report_if(Which which, Changed& changed) { begin({.which = std::move(which)}, changed); }

void RouteTable::begin(Job job, Changed& changed) {
    const auto named = [&](const List& list) { return list.users != 0 && job.which(list.routes); };
    if (std::ranges::none_of(lists_, named)) {
        return;
    }
    if (prefixes_.size() > step_) {
        jobs_.push_back(std::move(job));
        return;
    }
    for (find(job); !job.prefixes.empty();) {
        work_on(job, changed);
    }
}

void RouteTable::work_on(Job& job, Changed& changed) {
    if (!job.found) {
        find(job);
        return;
    }
    for (std::size_t n = 0; n < step_ && !job.prefixes.empty(); ++n, job.prefixes.pop_back()) {
        const IpPrefix& prefix = job.prefixes.back();
        if (!job.gone) {
            changed.push_back(prefix);
        } else if (!job.done.contains(prefix)) {
            remove(job, prefix, changed);
        }
    }
}

void RouteTable::find(Job& job) const {
    std::vector<bool> named(lists_.size());
    std::size_t users = 0;
    for (std::size_t i = 0; i < lists_.size(); ++i) {
        named[i] = lists_[i].users != 0 && job.which(lists_[i].routes);
        users += named[i] ? lists_[i].users : 0;
    }
    job.prefixes.reserve(users);
    prefixes_.for_each([&](const IpPrefix& prefix, std::uint32_t value) {
        if (named[value & kList] && has(job.families, prefix.family())) {
            job.prefixes.push_back(prefix);
        }
    });
    job.found = true;
}

void RouteTable::remove(const Job& job, const IpPrefix& prefix, Changed& changed) {
    if (!has(job.families, prefix.family())) {
        return;
    }
    Work work = load(prefix);
    if (std::erase_if(work.routes, job.gone) != 0) {
        changed.push_back(prefix);
        store(std::move(work));
    }
}

}  // namespace twinspan::netlink

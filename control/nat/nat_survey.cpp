#include "control/nat/nat_survey.hpp"

#include "dataplane/state/nat_table.hpp"

#include <algorithm>
#include <functional>

namespace twinspan {
namespace {

// The kTop entries with the highest counts, the highest first.
template <class Entry>
void keep_top(std::vector<Entry>& entries) {
    const auto more = [](const Entry& a, const Entry& b) { return a.sessions > b.sessions; };
    const std::size_t top = std::min(entries.size(), NatSurvey::kTop);
    std::ranges::partial_sort(entries, entries.begin() + static_cast<std::ptrdiff_t>(top), more);
    entries.resize(top);
}

template <class Map, class Key>
bool count_in(Map& map, const Key& key) {
    if (const auto it = map.find(key); it != map.end()) {
        ++it->second;
        return true;
    }
    if (map.size() == NatSurvey::kMostKeys) {
        return false;
    }
    map.emplace(key, 1);
    return true;
}

}  // namespace

void NatSurvey::ask(const NatTable& table, Time now) {
    if (work_ != nullptr || (last_ && now - finished_ < kFresh)) {
        return;
    }
    work_ = std::make_unique<Work>();
    step(table, kAtOnce, now);
}

void NatSurvey::tick(const NatTable& table, Time now) {
    if (work_ != nullptr) {
        step(table, kEachTick, now);
    }
}

void NatSurvey::step(const NatTable& table, std::uint32_t records, Time now) {
    Work& work = *work_;
    work.next = table.walk(work.next, records, [&work](const NatSessionView& view) { count(work, view); });
    if (work.next != 0) {
        return;
    }
    last_ = result_of(work);
    last_->complete = true;
    finished_ = now;
    work_.reset();
}

void NatSurvey::count(Work& work, const NatSessionView& view) {
    ++work.sessions;
    const std::uint64_t pool = view.pool();
    const bool host = count_in(work.hosts, HostKey{view.inside.address().raw | pool << 32});
    const bool remote = count_in(
        work.remotes, RemoteKey{view.outside.remote().raw | std::uint64_t{view.outside.remote_port().raw} << 32 |
                                std::uint64_t{view.protocol()} << 48 | pool << 56});
    work.uncounted += host && remote ? 0 : 1;
    ++work.uses[{view.pool(), view.outside.address().host(), view.protocol()}];
    std::vector<NatSessionView>& recent = work.recent;
    if (recent.size() == kRecent) {
        if (view.last_seen <= recent.front().last_seen) {
            return;
        }
        std::ranges::pop_heap(recent, std::greater{}, &NatSessionView::last_seen);
        recent.pop_back();
    }
    recent.push_back(view);
    std::ranges::push_heap(recent, std::greater{}, &NatSessionView::last_seen);
}

NatSurveyResult NatSurvey::result_of(const Work& work) {
    NatSurveyResult result{.sessions = work.sessions, .uncounted = work.uncounted};
    for (const auto& [key, sessions] : work.hosts) {
        result.talkers.push_back({.pool = static_cast<std::uint16_t>(key.raw >> 32),
                                  .host = be32{static_cast<std::uint32_t>(key.raw)},
                                  .sessions = sessions});
    }
    keep_top(result.talkers);
    for (const auto& [key, sessions] : work.remotes) {
        result.remotes.push_back({.pool = static_cast<std::uint16_t>(key.raw >> 56),
                                  .protocol = static_cast<std::uint8_t>(key.raw >> 48),
                                  .address = be32{static_cast<std::uint32_t>(key.raw)},
                                  .port = be16{static_cast<std::uint16_t>(key.raw >> 32)},
                                  .sessions = sessions});
    }
    keep_top(result.remotes);
    for (const auto& [place, sessions] : work.uses) {
        const auto& [pool, address, protocol] = place;
        result.addresses.push_back(
            {.pool = pool, .address = to_be32(address), .protocol = protocol, .sessions = sessions});
    }
    result.recent = work.recent;
    std::ranges::sort(result.recent, std::greater{}, &NatSessionView::last_seen);
    return result;
}

NatSurveyResult NatSurvey::result() const {
    if (last_) {
        return *last_;
    }
    return work_ != nullptr ? result_of(*work_) : NatSurveyResult{};
}

}  // namespace twinspan

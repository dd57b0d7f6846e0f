// What the SA store has, beside all that Linux has: dumps put it right, audits say whether it is.
#include "control/log.hpp"
#include "control/sa/sa_store.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace twinspan {
namespace {

constexpr std::size_t kMostAsked = 256;  // a few milliseconds; what is more counts as different

}  // namespace

void SaStore::begin_dump() {
    commit();  // what came before it
    dumping_ = true;
    for (auto& [id, sa] : sas_) {
        sa->seen = false;
    }
    for (auto& [id, refused] : refused_) {
        refused.seen = false;
    }
}

// The oldest first, as events would have brought them. Linux knows their age in seconds and dumps the newest first.
void SaStore::end_dump(bool complete) {
    dumping_ = false;
    batch_began_ = Clock::now();
    std::ranges::reverse(dumped_);
    std::ranges::stable_sort(dumped_, {}, [](const netlink::SaEvent& sa) { return sa.lifetime.add_time; });
    for (netlink::SaEvent& sa : std::exchange(dumped_, {})) {
        take(std::move(sa));
    }
    if (!complete) {
        return;
    }
    std::vector<netlink::SaId> gone;
    for (const auto& [id, sa] : sas_) {
        if (!sa->seen) {
            gone.push_back(id);
        }
    }
    std::ranges::for_each(gone, [this](const netlink::SaId& id) { remove(id); });
    gone.clear();
    for (const auto& [id, refused] : refused_) {
        if (!refused.seen) {
            gone.push_back(id);
        }
    }
    std::ranges::for_each(gone, [this](const netlink::SaId& id) { forget_refusal(id); });
}

// Linux's list is read over some time, and says of each SA how it was then: what looks different is asked for once more
// when all events of that time are applied.
void SaStore::begin_audit() {
    suspects_.clear();
    for (auto& [id, sa] : sas_) {
        sa->audited = false;
    }
}

void SaStore::audit(netlink::SaEvent event) {
    if (event.larval || event.if_id == 0) {
        return;
    }
    const auto known = sas_.find(event.id);
    if (known == sas_.end()) {
        if (!refused_.contains(event.id)) {
            suspects_.insert(event.id);
        }
        return;
    }
    known->second->audited = true;
    const auto match = matcher_.match(event);
    if (!match || !known->second->is(*match, fingerprint(engine_, config_of(event, *match)))) {
        suspects_.insert(event.id);
    }
}

std::uint64_t SaStore::end_audit() {
    std::size_t asked = 0;
    // 0: it is there.
    const auto refusal = [&](const netlink::SaId& id) {
        const auto there = kernel_->read(id);
        return there ? 0 : there.error().code;
    };
    std::erase_if(suspects_, [&](const netlink::SaId& id) { return asked++ < kMostAsked && refusal(id) != 0; });
    for (const auto& [id, sa] : sas_) {
        if (!sa->audited && (asked++ >= kMostAsked || refusal(id) == ESRCH)) {
            suspects_.insert(id);
        }
    }
    const std::uint64_t difference = suspects_.size();
    if (difference != 0) {
        spdlog::warn("audit: {} SAs are not as Linux has them, {} one of them; all are read again", difference,
                     suspects_.begin()->text());
    }
    suspects_.clear();
    return difference;
}

}  // namespace twinspan

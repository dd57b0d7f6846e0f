// NAT on one worker and on two that see each other's replies.
#include "bench/parts.hpp"

#include "bench/team.hpp"

#include <rte_cycles.h>

#include <cstdio>
#include <span>

namespace twinspan::bench {
namespace {

using nlohmann::json;

constexpr unsigned kSessions = 100'000;
// Many short ones: in some of them nothing else wants either core.
constexpr unsigned kRounds = 40, kQuickRounds = 12;
constexpr unsigned kSamples = 401;

// Its share of the flows from the inside, and the replies to the next worker's.
class Crossed : public Feed {
public:
    Crossed(rte_mempool* pool, const std::vector<Flow>& outbound, const std::vector<Flow>& replies, unsigned worker,
            unsigned workers)
        : out_(pool, kInside, kOurMac, share(outbound, worker, workers), fixed_size(64)),
          in_(pool, kOutside, kOurMac, share(replies, (worker + 1) % workers, workers), fixed_size(64)) {}
    std::vector<RxQueue> queues() noexcept override { return {out_.queue(), in_.queue()}; }

private:
    static std::vector<Flow> share(const std::vector<Flow>& flows, unsigned part, unsigned parts) {
        const std::size_t n = flows.size() / parts;
        const auto first = flows.begin() + static_cast<std::ptrdiff_t>(part * n);
        return {first, first + static_cast<std::ptrdiff_t>(n)};
    }
    FlowSource out_;
    FlowSource in_;
};

struct Together {
    double cycles = 0;  // of each worker, path only, on average
    double mpps = 0;    // all together
};

Result<Together> together(const std::vector<Found>& found) {
    Together all;
    for (const Found& f : found) {
        if (f.received != f.sent) {
            return std::unexpected(Error{"NAT on " + std::to_string(found.size()) +
                                         " workers: " + std::to_string(f.received - f.sent) + " packets lost"});
        }
        all.cycles += f.path() / static_cast<double>(found.size());
        all.mpps += static_cast<double>(rte_get_tsc_hz()) / f.path() / 1e6;
    }
    return all;
}

}  // namespace

Result<json> Bench::nat_workers() {
    auto site = Site::create(Path::nat_out, nat_scale(kSessions), engine_, now_seconds());
    if (!site) {
        return std::unexpected(site.error());
    }
    const std::vector<Flow> outbound = (*site)->flows();
    if (const Result<void> turned = (*site)->turn_round(); !turned) {
        return std::unexpected(turned.error());
    }
    const std::vector<Flow>& replies = (*site)->flows();
    const Effort effort{.samples = kSamples, .loops_per_sample = effort_.loops_per_sample};
    std::array<Together, 2> best;
    std::vector<double> gains;  // of two over one, right after each other: the machine's slow stretches are in both
    for (unsigned round = 0; round < (quick_ ? kQuickRounds : kRounds); ++round) {
        double one = 0;
        for (const unsigned workers : {1u, 2u}) {
            const MakeFeed make_feed = [&](unsigned worker, Engine&) {
                return std::make_unique<Crossed>(pool_, outbound, replies, worker, workers);
            };
            const auto found = Team{**site, make_feed, effort, workers}.run();
            if (!found) {
                return std::unexpected(found.error());
            }
            const Result<Together> all = together(*found);
            if (!all) {
                return std::unexpected(all.error());
            }
            Together& least = best[workers - 1];
            least = all->mpps > least.mpps ? *all : least;
            if (workers == 1) {
                one = all->mpps;
            } else {
                gains.push_back(all->mpps / one);
            }
        }
    }
    json list = json::array();
    for (const unsigned workers : {1u, 2u}) {
        const Together& b = best[workers - 1];
        const double over_one = workers == 1 ? 1 : median(gains);
        std::printf(
            "nat, both ways, %u sessions, on %u workers: path %.1f cycles each, %.1f Mpps together, %.2f of one\n",
            kSessions, workers, b.cycles, b.mpps, over_one);
        list.push_back({{"sessions", kSessions},
                        {"workers", workers},
                        {"cycles_per_packet", b.cycles},
                        {"mpps", b.mpps},
                        {"over_one", over_one}});
    }
    return list;
}

}  // namespace twinspan::bench

// One tunnel on one worker and on two.
#include "bench/parts.hpp"

#include "bench/team.hpp"

#include <rte_cycles.h>

#include <cstdio>

namespace twinspan::bench {
namespace {

class OneTunnel : public Feed {
public:
    OneTunnel(Site& site, const SizePattern& sizes, rte_mempool* pool, Engine& engine)
        : source_(site, sizes, pool, engine) {}
    std::vector<RxQueue> queues() noexcept override { return {source_.queue()}; }

private:
    Source source_;
};

}  // namespace

Result<nlohmann::json> Bench::workers() {
    nlohmann::json list = nlohmann::json::array();
    for (const Path path : {Path::esp_out, Path::esp_in}) {
        for (const SizePattern& sizes : {fixed_size(64), fixed_size(1420)}) {
            for (const unsigned workers : {1u, 2u}) {
                Setting setting = one();
                setting.window = 65'536;  // a worker that loses its CPU for a while must not lose its packets
                auto site = Site::create(path, setting, engine_, now_seconds());
                if (!site) {
                    return std::unexpected(site.error());
                }
                const MakeFeed make_feed = [&](unsigned, Engine& engine) {
                    return std::make_unique<OneTunnel>(**site, sizes, pool_, engine);
                };
                const auto found = Team{**site, make_feed, effort_, workers}.run();
                if (!found) {
                    return std::unexpected(found.error());
                }
                double packets_per_cycle = 0, path_cycles = 0;
                std::uint64_t late = 0;
                for (const Found& f : *found) {
                    if (f.received != f.sent + f.replayed) {
                        return std::unexpected(Error{(*site)->name() + " on " + std::to_string(workers) + " workers: " +
                                                     std::to_string(f.received - f.sent) + " packets lost"});
                    }
                    packets_per_cycle += 1 / f.path();
                    path_cycles += f.path() / workers;
                    late += f.replayed;
                }
                const double mpps = packets_per_cycle * static_cast<double>(rte_get_tsc_hz()) / 1e6;
                std::printf("%-8s %5u B on %u workers: path %.1f cycles each, %.1f Mpps together, %llu too late\n",
                            std::string{name_of(path)}.c_str(), sizes[0], workers, path_cycles, mpps,
                            static_cast<unsigned long long>(late));
                list.push_back({{"name", name_of(path)},
                                {"size", std::to_string(sizes[0])},
                                {"workers", workers},
                                {"cycles_per_packet", path_cycles},
                                {"mpps", mpps},
                                {"behind_the_window", late}});
            }
        }
    }
    return list;
}

}  // namespace twinspan::bench

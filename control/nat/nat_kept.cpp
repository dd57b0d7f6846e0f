#include "control/nat/nat_kept.hpp"

#include "control/log.hpp"

#include <cstddef>
#include <cstdint>
#include <numeric>

namespace twinspan {

std::string text_of(const NatKept& kept) {
    const auto& left_out = kept.restored.left_out;
    const std::uint64_t sum = std::accumulate(left_out.begin(), left_out.end(), std::uint64_t{0});
    if (kept.restored.restored + sum == 0) {
        return {};
    }
    std::string text = std::to_string(kept.restored.restored) + " sessions of an earlier run go on";
    std::string separator = ", " + std::to_string(sum) + " do not (";
    for (std::size_t i = 0; i < left_out.size(); ++i) {
        if (left_out[i] != 0) {
            text += separator + std::to_string(left_out[i]) + ' ' + std::string{kNatLeftOutNames[i]};
            separator = ", ";
        }
    }
    return text + (sum != 0 ? "); " : "; ") + std::to_string(kept.took.count()) + " ms";
}

void tell_nat_kept(const NatKept& kept, bool has_pools, Metrics& metrics) {
    if (has_pools) {
        for (const std::string& problem : kept.problems) {
            spdlog::warn("NAT: {}", problem);
        }
        if (kept.file.empty()) {
            spdlog::warn("NAT: sessions will not survive this process");
        } else {
            spdlog::info("NAT: sessions are kept in {}", kept.file.string());
        }
    }
    if (const std::string text = text_of(kept); !text.empty()) {
        spdlog::info("NAT: {}", text);
    }
    metrics.set(Metric::nat_restored, kept.restored.restored);
    for (std::size_t i = 0; i < kept.restored.left_out.size(); ++i) {
        metrics.set(static_cast<Metric>(static_cast<std::size_t>(Metric::nat_left_out_expired) + i),
                    kept.restored.left_out[i]);
    }
}

}  // namespace twinspan

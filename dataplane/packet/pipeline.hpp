// Composition of stages. The type *is* the packet path; see dataplane/graph.hpp.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <array>
#include <concepts>
#include <cstddef>
#include <string_view>
#include <tuple>
#include <utility>

namespace twinspan {

template <class S>
concept Stage = requires(S& stage, Context& ctx, Batch& batch) {
    { S::kName } -> std::convertible_to<std::string_view>;
    { stage.process(ctx, batch) } noexcept -> std::same_as<void>;
};

// One stage after the other; what a stage leaves in the batch goes to the next.
template <Stage... Stages>
class Pipeline {
public:
    static constexpr std::string_view kName = "pipeline";

    void process(Context& ctx, Batch& batch) noexcept {
        std::apply([&](Stages&... stage) noexcept { (run(stage, ctx, batch), ...); }, stages_);
    }

private:
    template <class S>
    static void run(S& stage, Context& ctx, Batch& batch) noexcept {
        if (!batch.empty()) {
            stage.process(ctx, batch);
        }
    }
    [[no_unique_address]] std::tuple<Stages...> stages_;
};

// Sends each packet down the path whose index Sorter::path(ctx, mbuf) gives. The paths are ends:
// nothing comes back. A burst that is all of one kind, the usual case, is handed on without a copy.
template <class Sorter, Stage... Paths>
class Split {
public:
    static constexpr std::string_view kName = "split";

    void process(Context& ctx, Batch& batch) noexcept {
        const std::uint8_t first = Sorter::path(ctx, *batch[0]);
        unsigned differs = 0;
        for (rte_mbuf* m : batch) {
            differs |= static_cast<unsigned>(Sorter::path(ctx, *m) ^ first);
        }
        if (differs == 0) [[likely]] {
            run_one(ctx, first, batch, kIndexes);
        } else {
            sort(ctx, batch);
        }
        batch.clear();
    }

private:
    static constexpr std::size_t kPaths = sizeof...(Paths);
    static constexpr auto kIndexes = std::make_index_sequence<kPaths>{};

    [[gnu::noinline]] void sort(Context& ctx, Batch& batch) noexcept {
        std::array<Batch, kPaths> parts;
        for (rte_mbuf* m : batch) {
            parts[Sorter::path(ctx, *m)].push(m);
        }
        for (std::size_t p = 0; p < kPaths; ++p) {
            if (!parts[p].empty()) {
                run_one(ctx, p, parts[p], kIndexes);
            }
        }
    }

    template <std::size_t... I>
    void run_one(Context& ctx, std::size_t which, Batch& batch, std::index_sequence<I...>) noexcept {
        ((which == I ? std::get<I>(paths_).process(ctx, batch) : void()), ...);
    }
    [[no_unique_address]] std::tuple<Paths...> paths_;
};

}  // namespace twinspan

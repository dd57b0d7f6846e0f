#include "dataplane/stages/esp_in.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/stages/esp_open.hpp"
#include "dataplane/state/lent_bursts.hpp"

#include <algorithm>

namespace twinspan {
namespace {

// Once a burst is lent, those that come after it are too, or they would overtake it.
bool lends(const Context& ctx, const Batch& batch, const EspArrivals& in) noexcept {
    if (ctx.lent == nullptr || (ctx.lent->empty() && !ctx.config->has_spread)) [[likely]] {
        return false;
    }
    return !batch.empty() && (!ctx.lent->empty() || std::any_of(in.entry.begin(), in.entry.begin() + batch.size(),
                                                                [&ctx](const InboundSaEntry* entry) noexcept {
        return ctx.config->tunnels[entry->tunnel].spread;
    }));
}

}  // namespace

void EspIn::process(Context& ctx, Batch& batch) noexcept {
    EspArrivals in;
    identify_esp(ctx, batch, in);
    if (lends(ctx, batch, in)) {
        ctx.lent->offer(ctx.config, batch, in);
        return;
    }
    decrypt_esp(ctx, batch, in);
    accept_esp(ctx, batch, in);
}

}  // namespace twinspan

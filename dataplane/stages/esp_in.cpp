#include "dataplane/stages/esp_in.hpp"

#include "dataplane/stages/esp_open.hpp"

namespace twinspan {

void EspIn::process(Context& ctx, Batch& batch) noexcept {
    EspArrivals in;
    identify_esp(ctx, batch, in);
    decrypt_esp(ctx, batch, in);
    accept_esp(ctx, batch, in);
}

}  // namespace twinspan

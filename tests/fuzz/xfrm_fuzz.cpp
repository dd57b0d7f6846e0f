// Any bytes as a run of XFRM messages, decoded and fed to an SA store over a kernel that takes everything.
#include "control/netlink/xfrm_decode.hpp"
#include "control/sa/sa_store.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>

using namespace twinspan;
using namespace twinspan::netlink;

namespace {

class Kernel : public XfrmKernel {
public:
    Answer<SaCheckpoint> read(const SaId& id) override { return states_[id]; }
    Answer<void> write(const SaCheckpoint& checkpoint) override {
        SaCheckpoint& state = states_[checkpoint.id];
        state.id = checkpoint.id;
        if (checkpoint.replay) {
            state.replay = checkpoint.replay;
        }
        if (checkpoint.lifetime) {
            state.lifetime = checkpoint.lifetime;
        }
        return {};
    }
    Answer<void> expire(const SaId&, bool) override { return {}; }

private:
    std::map<SaId, SaCheckpoint> states_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    spdlog::set_level(spdlog::level::off);
    World world;
    TunnelConfig tunnel;
    tunnel.name = "azure-0";
    tunnel.if_id = 1;
    tunnel.local = *IpAddress::parse("172.16.0.1");
    tunnel.remote = *IpAddress::parse("172.16.0.2");
    tunnel.ike.emplace();
    world.config.tunnels = {tunnel};
    world.config.legs.resize(1);
    Metrics metrics;
    auto engine = Engine::create();
    SaStore store{std::move(*engine), world, metrics, std::make_unique<Kernel>()};
    Message rest = std::as_bytes(std::span(data, size));
    while (const Result<MessageHeader> header = decode_header(rest)) {
        // The sequence number is free here: it says whether a dump begins or ends, and whether time passes.
        if ((header->sequence & 1) != 0) {
            store.begin_dump();
        }
        if (auto event = decode_xfrm(rest.first(header->length)); event && *event) {
            store.apply(std::move(**event));
        }
        if ((header->sequence & 2) != 0) {
            store.end_dump((header->sequence & 4) != 0);
        }
        store.commit();
        if ((header->sequence & 8) != 0) {
            store.tick();
        }
        rest = rest.subspan(std::min<std::size_t>((header->length + 3u) & ~3u, rest.size()));
    }
    for (const TunnelSas& sas : world.sas) {
        if (sas.out != nullptr && sas.out->limit() <= sas.out->next_seq()) {
            std::abort();  // in use without a number
        }
    }
    store.close();
    return 0;
}

#include "dataplane/stages/route.hpp"

#include "dataplane/config/snapshot.hpp"

namespace twinspan {
namespace {

template <class Address>
struct Lookups {
    std::array<Address, kBurst> dst;
    std::array<std::uint8_t, kBurst> packet;
    unsigned count = 0;

    void add(unsigned i, const Address& address) noexcept {
        dst[count] = address;
        packet[count++] = static_cast<std::uint8_t>(i);
    }
    template <class Lookup>
    void run(const Lookup& fib, Batch& batch) noexcept {
        if (count == 0) {
            return;
        }
        std::array<std::uint64_t, kBurst> found;
        fib.bulk(fib.table, dst.data(), found.data(), count);
        for (unsigned i = 0; i < count; ++i) {
            meta(*batch[packet[i]]).route = static_cast<std::uint32_t>(found[i]);
        }
    }
};

}  // namespace

void Route::process(Context& ctx, Batch& batch) noexcept {
    Lookups<std::uint32_t> v4;
    Lookups<Ipv6Address> v6;
    for (std::uint16_t i = 0; i < batch.size(); ++i) {
        rte_mbuf& m = *batch[i];
        if (meta(m).ip == IpVersion::v4) [[likely]] {
            v4.add(i, header_at<Ipv4Header>(m, 0).dst.host());
        } else {
            v6.add(i, header_at<Ipv6Header>(m, 0).dst);
        }
    }
    v4.run(ctx.config->fib4, batch);
    v6.run(ctx.config->fib6, batch);
}

}  // namespace twinspan

// A file of NAT sessions, whatever is in it, put back into a table. Input: byte 0 is the pool's kind; bit 7: the rest
// is the file, else its records behind a good header.
#include "dataplane/state/nat_saved.hpp"
#include "dataplane/state/nat_table.hpp"
#include "tests/support/nat_world.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

namespace twinspan {
namespace {

constexpr std::uint8_t kWholeFile = 0x80;
constexpr std::uint32_t kNow = 5000;
constexpr std::uint32_t kRoom = 64;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

NatPool pool_of(std::uint8_t kind) {
    NatPool pool = test::nat_pool({"198.51.100.1", "198.51.100.2"}, 1024, 2047);
    pool.mapping = (kind & 1) != 0 ? NatMapping::endpoint_independent : NatMapping::endpoint_dependent;
    pool.block_ports = (kind & 2) != 0 ? 8 : 0;
    pool.host_blocks = 2;
    pool.host_sessions = (kind & 4) != 0 ? 3 : 0;
    if ((kind & 8) != 0) {
        pool.reserved = {{1100, 1100}};
        pool.statics = NatStatics{
            {{test::ip4("198.51.100.1"), test::ip4("10.0.0.5"), +IpProtocol::tcp, to_be16(1100), to_be16(80)},
             {test::ip4("198.51.100.9"), test::ip4("10.0.0.6"), 0, {}, {}}}};
        pool.from_microsoft = std::make_shared<const NatPool>(test::nat_pool({"10.9.0.1"}));
    }
    return pool;
}

Result<NatSaved> read(std::span<const std::uint8_t> input) {
    std::vector<std::byte> file;
    if ((input[0] & kWholeFile) == 0) {
        const auto header = std::make_unique<NatSavedHeader>();
        header->begin((input.size() - 1) / sizeof(NatSession), 1, {});
        header->set_moment({.table = kNow, .boot = 1, .real = 1});
        header->name_pool(0, "microsoft");
        const auto bytes = std::as_bytes(std::span{header.get(), 1});
        file.assign(bytes.begin(), bytes.end());
    }
    const auto rest = std::as_bytes(input.subspan(1));
    file.insert(file.end(), rest.begin(), rest.end());
    return read_nat_saved([&, at = std::size_t{0}](std::span<std::byte> into) mutable {
        const std::size_t n = std::min(into.size(), file.size() - at);
        std::ranges::copy(std::span{file}.subspan(at, n), into.begin());
        at += n;
        return n;
    });
}

void put_back(NatSaved& saved, const std::vector<NatPool>& pools) {
    static test::Readers readers{1};
    static NatTable table{{.sessions = kRoom, .workers = 1, .seed = 1}, *readers};
    const std::vector<std::string> names{"microsoft"};
    const std::size_t all = saved.sessions.size();
    std::uint64_t sum = adapt_nat_saved(saved, {.table = kNow, .boot = 1, .real = 1}, {}, names);
    require(sum + saved.sessions.size() == all);
    const NatRestored restored = table.restore(saved.sessions, pools, kNow);
    std::uint64_t live = 0;
    table.for_each(2 * kRoom, [&](const NatSessionView& view) {
        ++live;
        const NatSession* session = table.find_inside(view.inside);
        require(session != nullptr && session == table.find_outside(view.outside));
        require(view.last_seen <= kNow && view.pool() == 0);
    });
    require(live == restored.restored && live == table.usage(0).sessions);
    for (const std::uint64_t n : restored.left_out) {
        sum += n;
    }
    require(sum + restored.restored <= all);  // found twice: neither
    std::vector<NatPool> down = pools;
    down[0].down = true;
    static std::uint32_t now = kNow;
    for (int round = 0; round < 4; ++round) {
        table.age(0, ++now, down, 1u << 20);
        readers.quiescent(0);
    }
    require(table.usage(0).sessions == 0);
    require(table.ports_in_use(test::ip4("198.51.100.1"), NatProtocol::tcp) == 0u);
}

}  // namespace
}  // namespace twinspan

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size != 0) {
        if (auto saved = twinspan::read({data, size})) {
            twinspan::put_back(*saved, {twinspan::pool_of(data[0])});
        }
    }
    return 0;
}

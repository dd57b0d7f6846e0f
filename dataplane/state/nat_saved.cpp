#include "dataplane/state/nat_saved.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

namespace twinspan {
namespace {

constexpr std::array<char, 8> kMagic{'t', 'w', 'i', 'n', 'N', 'A', 'T', '\n'};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kChunk = 4096;  // records
constexpr std::uint8_t kTcpBits = 0x3f;

Error not_ours(const std::string& why) { return {"not taken: " + why}; }

std::optional<Error> judge(const NatSavedHeader& header, std::size_t bytes) {
    if (bytes < sizeof(header) || header.magic != kMagic) {
        return not_ours("it holds no NAT sessions of twinspand");
    }
    if (header.version != kVersion || header.record_bytes != sizeof(NatSession)) {
        return not_ours("its layout is version " + std::to_string(header.version) + ", and ours " +
                        std::to_string(kVersion));
    }
    return std::nullopt;
}

// The bits of a session's `rest` that mean something: ports, protocol, pool.
bool is_session_key(const NatKey& key) noexcept {
    constexpr std::uint64_t kUnused = 0xff00'0000'0000;
    const bool has_ports = key.protocol() == +IpProtocol::tcp || key.protocol() == +IpProtocol::udp;
    return (key.rest & kUnused) == 0 && key.kind() == NatRecord::session && key.protocol() != 0 &&
           key.address() != be32{} && key.remote() != be32{} && (has_ports || key.remote_port() == be16{}) &&
           (nat_has_ports(key.protocol()) || key.port() == be16{});
}

bool is_session(const NatSessionView& view) noexcept {
    return is_session_key(view.inside) && is_session_key(view.outside) && view.outside.pool() == 0 &&
           view.inside.pool() < kMaxNatPools && view.inside.protocol() == view.outside.protocol() &&
           (view.tcp & ~kTcpBits) == 0;
}

std::string text_of(std::span<const char> zero_filled) {
    return {zero_filled.begin(), std::ranges::find(zero_filled, '\0')};
}

NatSaved begin_with(const NatSavedHeader& header) {
    NatSaved saved;
    saved.seed = header.seed;
    saved.boot_id = header.boot_id;
    saved.moment = header.moment();
    for (const auto& name : header.pools) {
        saved.pools.push_back(text_of(name));
    }
    return saved;
}

void add_live(NatSaved& saved, std::span<const NatSession> records) {
    for (const NatSession& record : records) {
        if (const auto view = view_of(record)) {
            is_session(*view) ? saved.sessions.push_back(*view) : void(++saved.nonsense);
        }
    }
}

Error ends_after(std::uint64_t records, const NatSavedHeader& header) {
    return not_ours("it ends after " + std::to_string(records) + " of " + std::to_string(header.records) + " records");
}

}  // namespace

void NatSavedHeader::begin(std::uint64_t record_count, std::uint64_t hash_seed, const NatBootId& boot) noexcept {
    version = kVersion;
    record_bytes = sizeof(NatSession);
    records = record_count;
    seed = hash_seed;
    boot_id = boot;
    std::atomic_thread_fence(std::memory_order_release);
    magic = kMagic;
}

bool NatSavedHeader::is_begun() const noexcept { return magic == kMagic; }

void NatSavedHeader::end() noexcept {
    magic = {};
    std::atomic_thread_fence(std::memory_order_release);
}

// One that is as it was is not touched: a kill could come between.
void NatSavedHeader::name_pool(std::size_t number, std::string_view name) noexcept {
    std::array<char, kNatNameBytes> filled{};
    std::ranges::copy(name.substr(0, kNatNameBytes), filled.begin());
    if (pools[number] != filled) {
        pools[number] = filled;
    }
}

Result<NatSaved> read_nat_saved(const std::function<std::size_t(std::span<std::byte>)>& read) {
    const auto header = std::make_unique<NatSavedHeader>();
    const std::size_t bytes = read(std::as_writable_bytes(std::span{header.get(), 1}));
    if (const auto error = judge(*header, bytes)) {
        return std::unexpected(*error);
    }
    NatSaved saved = begin_with(*header);
    const auto chunk = std::make_unique<std::array<NatSession, kChunk>>();
    for (std::uint64_t done = 0; done < header->records;) {
        const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, header->records - done));
        const std::span<NatSession> records{chunk->data(), wanted};
        const std::size_t got = read(std::as_writable_bytes(records)) / sizeof(NatSession);
        add_live(saved, records.first(got));
        done += got;
        if (got < wanted) {
            return std::unexpected(ends_after(done, *header));
        }
    }
    return saved;
}

Result<NatSaved> read_nat_saved(const NatSavedHeader& header, std::span<const NatSession> records) {
    if (const auto error = judge(header, sizeof(header))) {
        return std::unexpected(*error);
    }
    if (records.size() < header.records) {
        return std::unexpected(ends_after(records.size(), header));
    }
    NatSaved saved = begin_with(header);
    add_live(saved, records.first(header.records));
    return saved;
}

std::uint64_t adapt_nat_saved(NatSaved& saved, const NatMoment& now, const NatBootId& boot_id,
                              std::span<const std::string> pools) {
    const std::int64_t passed = saved.boot_id == boot_id
                                    ? static_cast<std::int64_t>(now.boot) - static_cast<std::int64_t>(saved.moment.boot)
                                    : static_cast<std::int64_t>(now.real - saved.moment.real);
    constexpr std::int64_t kForever = (1 << 30) - 1;  // seconds; the sum of two is an age on a clock of 32 bits
    const auto between = static_cast<std::uint32_t>(std::clamp<std::int64_t>(passed, 0, kForever));
    const auto at = [&](std::uint32_t then) {
        const auto age = static_cast<std::int32_t>(saved.moment.table - then);
        return now.table - between - static_cast<std::uint32_t>(std::clamp<std::int64_t>(age, 0, kForever));
    };
    std::vector<std::uint64_t> number;
    for (const std::string& name : saved.pools) {
        const auto same = std::ranges::find(pools, name);
        number.push_back(name.empty() ? pools.size() : static_cast<std::uint64_t>(same - pools.begin()));
    }
    constexpr std::uint64_t kNotThePool = 0xffff'ffff'ffff;
    const auto gone = std::ranges::remove_if(saved.sessions, [&](const NatSessionView& view) {
        return number.size() <= view.pool() || number[view.pool()] == pools.size();
    });
    const auto count = static_cast<std::uint64_t>(gone.size());
    saved.sessions.erase(gone.begin(), gone.end());
    for (NatSessionView& view : saved.sessions) {
        view.inside.rest = (view.inside.rest & kNotThePool) | number[view.pool()] << 48;
        view.created = at(view.created);
        view.last_seen = at(view.last_seen);
    }
    return count;
}

}  // namespace twinspan

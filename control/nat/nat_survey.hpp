// A walk over the NAT's table in steps, for what no counter holds: who has most sessions, towards whom, from which
// address. Made when somebody asks; workers go on meanwhile and are not touched. Control thread only.
#pragma once

#include "dataplane/base/endian.hpp"
#include "dataplane/state/nat_session.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace twinspan {

class NatTable;

struct NatTalker {
    std::uint16_t pool;
    be32 host;  // inside
    std::uint64_t sessions;
};

// What sessions of one protocol have in common outside: with port overloading, ports run out towards one of these.
struct NatRemote {
    std::uint16_t pool;
    std::uint8_t protocol;
    be32 address;
    be16 port;
    std::uint64_t sessions;
};

struct NatAddressUse {
    std::uint16_t pool;
    be32 address;
    std::uint8_t protocol;
    std::uint64_t sessions;
};

struct NatSurveyResult {
    bool complete = false;
    std::uint64_t sessions = 0;
    std::uint64_t uncounted = 0;  // of hosts or remotes beyond the most that are told apart
    std::vector<NatTalker> talkers{};  // those with most first
    std::vector<NatRemote> remotes{};  // the same
    std::vector<NatAddressUse> addresses{};  // by pool, address, protocol
    std::vector<NatSessionView> recent{};  // used last, the latest first
};

class NatSurvey {
public:
    using Time = std::chrono::steady_clock::time_point;

    static constexpr std::uint32_t kAtOnce = 1u << 17;  // records in the request itself: some milliseconds
    static constexpr std::uint32_t kEachTick = 1u << 15;
    static constexpr std::size_t kTop = 20;
    static constexpr std::size_t kRecent = 1000;
    static constexpr std::size_t kMostKeys = 1u << 17;
    static constexpr std::chrono::seconds kFresh{2};

    // Begins one unless there is one that is fresh or under way, and does its first step.
    void ask(const NatTable& table, Time now);
    // Goes on with one that is under way, from a timer.
    void tick(const NatTable& table, Time now);
    // The last one that was completed, unless the present one is the first: then that, as far as it has come.
    NatSurveyResult result() const;
    bool under_way() const noexcept { return work_ != nullptr; }

private:
    struct HostKey {
        std::uint64_t raw;  // host | pool << 32
        bool operator==(const HostKey&) const = default;
    };
    struct RemoteKey {
        std::uint64_t raw;  // address | port << 32 | protocol << 48 | pool << 56
        bool operator==(const RemoteKey&) const = default;
    };
    struct Hash {
        template <class Key>
        std::size_t operator()(const Key& key) const noexcept {
            const std::uint64_t mixed = (key.raw ^ key.raw >> 31) * 0x9e3779b97f4a7c15u;
            return mixed ^ mixed >> 29;
        }
    };
    struct Work {
        std::uint32_t next = 1;
        std::uint64_t sessions = 0;
        std::uint64_t uncounted = 0;
        std::unordered_map<HostKey, std::uint64_t, Hash> hosts;
        std::unordered_map<RemoteKey, std::uint64_t, Hash> remotes;
        std::map<std::tuple<std::uint16_t, std::uint32_t, std::uint8_t>, std::uint64_t> uses;
        std::vector<NatSessionView> recent;  // a heap, the stalest first
    };

    void step(const NatTable& table, std::uint32_t records, Time now);
    static void count(Work& work, const NatSessionView& view);
    static NatSurveyResult result_of(const Work& work);

    std::unique_ptr<Work> work_;
    std::optional<NatSurveyResult> last_;
    Time finished_{};
};

}  // namespace twinspan

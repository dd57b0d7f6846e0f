// The way to an IPFIX collector: one UDP or TCP socket that never blocks (RFC 7011 section 10). Control thread only.
#pragma once

#include "control/config/nat_log_config.hpp"
#include "dataplane/base/descriptor.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace twinspan {

class Collector {
public:
    using Time = std::chrono::steady_clock::time_point;

    static constexpr std::chrono::milliseconds kFirstBackoff{250};
    static constexpr std::chrono::milliseconds kLongestBackoff{30'000};
    static constexpr std::chrono::milliseconds kConnectTimeout{5'000};
    static constexpr std::size_t kMostWaiting = std::size_t{2} << 20;  // bytes that the kernel has not taken yet

    explicit Collector(CollectorAddress address) : address_(address) {}

    // From now on another one. What waits for the first is lost, as when a connection breaks.
    void move_to(CollectorAddress address);

    // Often: opens or opens anew, sends on what waits. Whether messages may be sent now.
    bool ready(Time now);
    // A message of this many data records. false: it is lost, as are those of lost().
    bool send(std::span<const std::uint8_t> message, std::uint32_t records);

    // Changes with each connection, and when a UDP collector was seen to be away: templates are due again.
    std::uint64_t epoch() const noexcept { return epoch_; }
    std::size_t most_bytes() const noexcept { return most_bytes_; }  // of one message
    bool connected() const noexcept { return state_ == State::open; }
    std::uint64_t attempts() const noexcept { return attempts_; }
    std::uint64_t connections() const noexcept { return connections_; }
    std::uint64_t lost() const noexcept { return lost_; }  // records that waited when their connection broke
    std::size_t waiting() const noexcept { return out_.size() - sent_; }
    const CollectorAddress& address() const noexcept { return address_; }

private:
    enum class State : std::uint8_t { closed, connecting, open };
    struct Queued {
        std::size_t end;  // in out_
        std::uint32_t records;
    };

    void open(Time now);
    void opened();
    void close(Time now, int error);
    void forget() noexcept;
    void finish_connecting(Time now);
    void read_path_mtu();
    void forget_templates_if_refused();
    bool send_datagram(std::span<const std::uint8_t> message);
    int flush();  // an errno, or 0
    bool peer_is_gone();

    CollectorAddress address_;
    Descriptor socket_{-1};
    State state_ = State::closed;
    Time next_try_{};
    Time began_{};
    std::chrono::milliseconds backoff_ = kFirstBackoff;
    bool complained_ = false;
    std::size_t most_bytes_ = 0;
    std::uint64_t epoch_ = 0;
    std::uint64_t attempts_ = 0;
    std::uint64_t connections_ = 0;
    std::uint64_t lost_ = 0;
    std::vector<std::uint8_t> out_;  // TCP: from sent_ on, what the kernel has not taken
    std::size_t sent_ = 0;
    std::deque<Queued> queued_;
};

}  // namespace twinspan

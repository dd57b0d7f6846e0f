// Keeps a KernelState true: rtnetlink events as they come, and dumps (mark and sweep) at the start, after an overrun,
// and after what Linux does without a message. One thread, one epoll-able descriptor, never blocks after resync(), and
// takes some 20 ms at a time at most, however many routes an event concerns.
#pragma once

#include "control/netlink/decode.hpp"
#include "control/netlink/foreign_devices.hpp"
#include "control/netlink/mirror_state.hpp"
#include "control/netlink/socket.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::netlink {

struct MirrorOptions {
    std::size_t receive_buffer_bytes = std::size_t{32} << 20;
    // How long on_readable may keep the thread: a message each, and up to 32 KiB of messages that the kernel makes
    // then.
    unsigned event_reads_per_call = 256;
    unsigned dump_reads_per_call = 4;
};

// What an audit found: prefixes in which the mirror was not as the kernel says, though no event was on its way.
struct AuditReport {
    std::uint64_t difference = 0;
    std::optional<IpPrefix> example;
    std::uint64_t routes = 0;  // in the mirror, afterwards
    std::chrono::milliseconds took{0};
};

struct MirrorCallbacks {
    // Once per on_readable, if anything changed; the first one comes when the first dump is complete.
    std::function<void(const KernelState&, const Changes&)> on_changes;
    // A message that makes no sense, a dump that was refused, a socket that could not be had: for the log.
    std::function<void(std::string_view)> on_problem;
    std::function<void(const AuditReport&)> on_audit;
    // Routes that are not followed, as they lead through a device that nobody watches.
    ForeignDevices::Name on_foreign_device = {};
};

struct MirrorMetrics {
    std::uint64_t messages = 0;        // events and dumped
    std::uint64_t errors = 0;          // malformed messages, refused dumps
    std::uint64_t overruns = 0;        // the kernel dropped events
    std::uint64_t interruptions = 0;   // a dump changed under our eyes and was repeated
    std::uint64_t resyncs = 0;         // completed
    std::uint64_t routes_ignored = 0;  // messages on routes of other tables, through other devices, of other kinds
    std::uint64_t batches = 0;         // calls of on_changes
    std::chrono::nanoseconds last_lag{0};  // from reading a batch's first message to the end of its on_changes
    std::uint64_t retries = 0;         // of dumps that could not begin, for want of memory or descriptors
    std::uint64_t truncated = 0;       // reads that ended within a message
    std::uint64_t audits = 0;          // completed
    std::uint64_t audit_difference = 0;  // of the last one
};

class Mirror {
public:
    static Result<std::unique_ptr<Mirror>> open(const MirrorOptions& options, MirrorCallbacks callbacks);
    ~Mirror();
    Mirror(const Mirror&) = delete;
    Mirror& operator=(const Mirror&) = delete;

    // Netdevs that matter, by name, existing or to come. Others' links, addresses, neighbours and routes are not kept.
    void watch(const std::string& name);

    // Level-triggered: readable while there is work. Call on_readable then. Error: a socket is lost for good.
    int fd() const noexcept { return epoll_fd_; }
    Result<void> on_readable();
    // Dumps the parts again, from the next on_readable on; makes the descriptor readable.
    void request_resync(Parts parts = Parts::all());
    // The same, and what it has to put right is counted. The report comes a moment after the dump's end, when events
    // that were on their way have come.
    void request_audit();
    // Everything, and waits until it is done: for the start.
    Result<void> resync(std::chrono::milliseconds timeout = std::chrono::seconds(30));

    // No dump runs or is due: the state is as true as the events make it.
    bool in_sync() const noexcept { return synced_ && !dump_ && wanted_.empty() && !state_.busy(); }
    bool auditing() const noexcept { return audit_wanted_ || (dump_ && dump_->audit) || suspects_; }
    // When the first message came of what on_changes is being called with.
    std::chrono::steady_clock::time_point batch_began() const noexcept { return batch_began_.value_or(Clock::now()); }
    const KernelState& state() const noexcept { return state_; }
    const MirrorMetrics& metrics() const noexcept { return metrics_; }

private:
    using Clock = std::chrono::steady_clock;
    struct Dump {
        Socket socket;
        std::vector<Part> rest;  // the running one first
        Clock::time_point began;
        bool all = false;
        bool audit = false;
        bool interrupted = false;
        bool swept = false;  // what it has not shown is going
        unsigned attempts = 0;
        std::uint32_t sequence = 0;
    };

    Mirror(const MirrorOptions& options, MirrorCallbacks callbacks);
    Result<bool> read_events();  // true: drained
    Result<void> read_dump();
    void take_events(Message bytes);
    void take_dumped(Message bytes);
    void end_of_part(int error);
    void end_dump();
    void begin_dump();
    Result<void> ask_part();
    void abandon_dump();
    void report();

    void apply(Event event);
    bool wanted(Event& event, bool dumped);
    bool wanted_link(LinkEvent& link, bool dumped);
    bool wanted_route(const RouteEvent& route);
    void apply_unwatched(Event event);
    void problem(std::string_view what);
    void retry_later(std::string_view why);
    void suspect(const std::vector<IpPrefix>& repaired, Clock::time_point began);
    void report_audit();
    void arm_timer(std::chrono::nanoseconds after);

    MirrorOptions options_;
    MirrorCallbacks callbacks_;
    MirrorMetrics metrics_;
    KernelState state_;
    Changes changes_;
    std::set<std::string, std::less<>> names_;
    std::map<IfIndex, std::string> watched_;  // with the name by which it came to be
    std::optional<Socket> events_;
    std::optional<Dump> dump_;
    Parts wanted_ = Parts::all();
    bool synced_ = false;
    bool first_ = true;  // nothing has been reported yet
    std::set<IfIndex> renamed_;
    ForeignDevices foreign_;
    int epoll_fd_ = -1;
    int wake_fd_ = -1;  // eventfd: a resync was asked for
    int timer_fd_ = -1;
    std::uint32_t sequence_ = 0;
    std::vector<std::byte> buffer_;
    std::optional<Clock::time_point> batch_began_;
    Clock::time_point not_before_{};  // the next dump
    unsigned failures_ = 0;  // of dumps in a row
    bool audit_wanted_ = false;
    struct Suspects {
        std::set<IpPrefix> prefixes;
        AuditReport report;
        Clock::time_point until;
    };
    std::optional<Suspects> suspects_;
};

}  // namespace twinspan::netlink

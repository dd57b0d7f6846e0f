// Keeps a KernelState true: rtnetlink events as they come, and dumps (mark and sweep) at the start, after an overrun,
// and after what Linux does without a message. One thread, one epoll-able descriptor, never blocks after resync().
#pragma once

#include "control/netlink/decode.hpp"
#include "control/netlink/mirror_state.hpp"
#include "control/netlink/socket.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::netlink {

struct MirrorOptions {
    std::size_t receive_buffer_bytes = std::size_t{32} << 20;
    // Reads of up to 64 KiB per on_readable, of events and of a dump each: how long it may keep the thread.
    unsigned reads_per_call = 64;
};

struct MirrorCallbacks {
    // Once per on_readable, if anything changed; the first one comes when the first dump is complete.
    std::function<void(const KernelState&, const Changes&)> on_changes;
    // A message that makes no sense, a dump that was refused: for the log.
    std::function<void(std::string_view)> on_problem;
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
    // Everything, and waits until it is done: for the start.
    Result<void> resync(std::chrono::milliseconds timeout = std::chrono::seconds(30));

    // No dump runs or is due: the state is as true as the events make it.
    bool in_sync() const noexcept { return synced_ && !dump_ && wanted_.empty(); }
    const KernelState& state() const noexcept { return state_; }
    const MirrorMetrics& metrics() const noexcept { return metrics_; }

private:
    struct Dump {
        Socket socket;
        std::vector<Part> rest;  // the running one first
        bool all = false;
        bool interrupted = false;
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
    Result<void> begin_dump();
    Result<void> ask_part();
    void abandon_dump();
    void report();

    void apply(Event event);
    bool wanted(Event& event, bool dumped);
    bool wanted_link(LinkEvent& link, bool dumped);
    bool through_watched(const RouteEvent& route) const;
    void apply_unwatched(Event event);
    void problem(std::string_view what);

    MirrorOptions options_;
    MirrorCallbacks callbacks_;
    MirrorMetrics metrics_;
    KernelState state_;
    Changes changes_;
    std::set<std::string, std::less<>> names_;
    std::set<IfIndex> watched_;
    std::optional<Socket> events_;
    std::optional<Dump> dump_;
    Parts wanted_ = Parts::all();
    bool synced_ = false;
    int epoll_fd_ = -1;
    int wake_fd_ = -1;  // eventfd: a resync was asked for
    std::uint32_t sequence_ = 0;
    std::vector<std::byte> buffer_;
    std::optional<std::chrono::steady_clock::time_point> batch_began_;
};

}  // namespace twinspan::netlink

// Tells a listener of Linux's ESP SAs: events as they come, dumps (mark and sweep) at the start and after an overrun,
// and audits, which read some SAs at a time. One thread; the buffer that keys pass through is locked memory and wiped
// after every read.
#pragma once

#include "control/netlink/decode.hpp"
#include "control/netlink/socket.hpp"
#include "control/netlink/xfrm_types.hpp"
#include "control/trouble.hpp"
#include "crypto/key.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace twinspan::netlink {

class XfrmListener {
public:
    virtual ~XfrmListener() = default;
    virtual void apply(XfrmEvent event) = 0;
    // Between the two, apply() gets every SA that Linux has. What was known before and did not come is gone; unless
    // the dump was not complete.
    virtual void begin_dump() = 0;
    virtual void end_dump(bool complete) = 0;
    // After a batch of the above: the time to act on it.
    virtual void commit() = 0;
    // Between begin and end, every SA that Linux has; events come in between, and a dump ends it without an end.
    virtual void begin_audit() = 0;
    virtual void audit(SaEvent sa) = 0;
    // Every event from before the last of them was applied. Returns how many SAs are not as Linux has them; a resync
    // follows where there are any.
    virtual std::uint64_t end_audit() = 0;
};

struct XfrmMetrics {
    std::uint64_t messages = 0;  // events and dumped
    std::uint64_t errors = 0;  // malformed messages, refused dumps
    std::uint64_t overruns = 0;  // the kernel dropped events
    std::uint64_t resyncs = 0;  // complete dumps
    std::uint64_t truncated = 0;  // reads that ended within a message
    std::uint64_t audits = 0;  // completed
    std::uint64_t audit_difference = 0;  // of the last one
    std::chrono::steady_clock::time_point audited{};  // its end
};

class XfrmMirror {
public:
    // For the log, also when a problem is over.
    using Problem = std::function<void(std::string_view)>;
    // The listener outlives this.
    static Result<std::unique_ptr<XfrmMirror>> open(XfrmListener& listener, Problem on_problem,
                                                    std::size_t receive_buffer_bytes = std::size_t{8} << 20);

    // Level-triggered: call on_readable while it is readable. Error: the socket is lost for good.
    int fd() const noexcept { return events_.fd(); }
    Result<void> on_readable();
    // More can be read than the last on_readable() took.
    bool behind() const noexcept { return behind_; }
    // Dumps now. A failure is named, and tried again from tick().
    bool resync();
    void request_resync() noexcept { resync_due_ = true; }
    // Compares, some hundred SAs with each tick(). One that is under way begins anew.
    void request_audit();
    bool auditing() const noexcept { return audit_.has_value(); }
    // From a timer: the dumps that are due, and the audit's next step.
    void tick();

    const XfrmMetrics& metrics() const noexcept { return metrics_; }

private:
    using Clock = std::chrono::steady_clock;
    XfrmMirror(XfrmListener& listener, Problem on_problem, Socket events);
    enum class Source : std::uint8_t { events, dump, audit };
    enum class Dumped : std::uint8_t { more, complete, failed };
    struct Audit {
        Socket socket;
        bool dumped = false;
    };
    Result<Socket> begin_dump();
    Result<void> dump();
    void resync_if_due();
    void step_audit();
    void end_audit();
    void give_up_audit(const std::string& why);
    Dumped take(Message bytes, Source source);
    Dumped take_one(Message message, Source source);
    void problem(std::string_view what);
    void say(std::string_view what) const;

    XfrmListener& listener_;
    Problem on_problem_;
    Socket events_;
    SecretBytes buffer_;
    XfrmMetrics metrics_;
    bool resync_due_ = false;
    // Events are queued that a dump would overtake. After an overrun none come besides until these are read.
    bool behind_ = false;
    Clock::time_point not_before_{};  // the next dump, after one that failed
    std::uint32_t sequence_ = 0;
    std::string refusal_;  // why the kernel ended the dump under way
    Trouble dumps_;
    std::optional<Audit> audit_;
    Trouble audits_;
};

}  // namespace twinspan::netlink

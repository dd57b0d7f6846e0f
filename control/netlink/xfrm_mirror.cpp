#include "control/netlink/xfrm_mirror.hpp"

#include "control/netlink/attributes.hpp"
#include "control/netlink/xfrm_decode.hpp"

#include <linux/in.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace twinspan::netlink {

namespace {

constexpr int kAnswerTimeoutMs = 5000;
constexpr std::chrono::milliseconds kRetry{100};
constexpr unsigned kReadsPerCall = 64;
constexpr unsigned kAuditReads = 8;  // of a tick: some 50 SAs each

std::span<std::byte> bytes_of(SecretBytes& buffer) noexcept {
    return std::as_writable_bytes(std::span{buffer.data(), buffer.size()});
}

// Wipes what was read, however the reader leaves.
class Wipe {
public:
    Wipe(SecretBytes& buffer, std::size_t used) noexcept : buffer_(buffer), used_(used) {}
    ~Wipe() { explicit_bzero(buffer_.data(), used_); }
    Wipe(const Wipe&) = delete;
    Wipe& operator=(const Wipe&) = delete;

private:
    SecretBytes& buffer_;
    std::size_t used_;
};

}  // namespace

Result<std::unique_ptr<XfrmMirror>> XfrmMirror::open(XfrmListener& listener, Problem on_problem,
                                                     std::size_t receive_buffer_bytes) {
    Result<Socket> events = Socket::open_xfrm_events(receive_buffer_bytes);
    if (!events) {
        return std::unexpected(events.error());
    }
    return std::unique_ptr<XfrmMirror>{new XfrmMirror{listener, std::move(on_problem), std::move(*events)}};
}

XfrmMirror::XfrmMirror(XfrmListener& listener, Problem on_problem, Socket events)
    : listener_(listener),
      on_problem_(std::move(on_problem)),
      events_(std::move(events)),
      buffer_(Socket::kReadBytes) {}

Result<void> XfrmMirror::on_readable() {
    behind_ = true;
    for (unsigned reads = 0; reads < kReadsPerCall; ++reads) {
        const Result<Read> read = events_.read(bytes_of(buffer_));
        if (!read) {
            return std::unexpected(read.error());
        }
        if (read->outcome == ReadOutcome::drained) {
            behind_ = false;
            break;
        }
        if (read->outcome == ReadOutcome::overrun) {
            explicit_bzero(buffer_.data(), buffer_.size());
            ++metrics_.overruns;
            request_resync();
            continue;
        }
        const Wipe wipe{buffer_, read->bytes};
        static_cast<void>(take(Message{bytes_of(buffer_).first(read->bytes)}, Source::events));
    }
    listener_.commit();
    resync_if_due();
    return {};
}

void XfrmMirror::tick() {
    resync_if_due();
    step_audit();
}

void XfrmMirror::resync_if_due() {
    if (resync_due_ && !behind_ && Clock::now() >= not_before_) {
        resync();
    }
}

bool XfrmMirror::resync() {
    audit_.reset();
    listener_.begin_dump();
    const Result<void> done = dump();
    listener_.end_dump(done.has_value());
    listener_.commit();
    resync_due_ = !done;
    if (!done) {
        const Clock::time_point now = Clock::now();
        not_before_ = now + kRetry;
        ++metrics_.errors;
        if (dumps_.begins_or_lasts(now)) {
            say(done.error().what);
        }
        return false;
    }
    if (dumps_.ends()) {
        say("SAs are dumped again");
    }
    ++metrics_.resyncs;
    return true;
}

// A socket of its own for each: what an earlier dump left unread is gone with it.
Result<Socket> XfrmMirror::begin_dump() {
    Result<Socket> socket = Socket::open_xfrm();
    if (!socket) {
        return socket;
    }
    struct {
        nlmsghdr header{};
        nlattr head{};
        std::array<std::uint8_t, 4> proto{};  // one byte and its padding
    } request;
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = XFRM_MSG_GETSA;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.header.nlmsg_seq = ++sequence_;
    request.head = {sizeof(nlattr) + 1, XFRMA_PROTO};
    request.proto[0] = IPPROTO_ESP;
    if (auto asked = socket->send(std::as_bytes(std::span{&request, 1})); !asked) {
        return std::unexpected(asked.error());
    }
    return socket;
}

Result<void> XfrmMirror::dump() {
    Result<Socket> socket = begin_dump();
    if (!socket) {
        return std::unexpected(socket.error());
    }
    for (;;) {
        pollfd ready{socket->fd(), POLLIN, 0};
        if (const int polled = poll(&ready, 1, kAnswerTimeoutMs); polled == 0) {
            return malformed("dumping SAs: no answer from the kernel");
        } else if (polled < 0 && errno != EINTR) {
            return malformed(std::string{"dumping SAs: "} + std::strerror(errno));
        }
        const Result<Read> read = socket->read(bytes_of(buffer_));
        if (!read) {
            return std::unexpected(read.error());
        }
        if (read->outcome == ReadOutcome::overrun) {
            explicit_bzero(buffer_.data(), buffer_.size());
            return malformed("dumping SAs: the kernel had no room for the answer");
        }
        const Wipe wipe{buffer_, read->bytes};
        switch (take(Message{bytes_of(buffer_).first(read->bytes)}, Source::dump)) {
            case Dumped::complete:
                return {};
            case Dumped::failed:
                return malformed("dumping SAs: " + refusal_);
            case Dumped::more:
                break;
        }
    }
}

void XfrmMirror::request_audit() {
    Result<Socket> socket = begin_dump();
    if (!socket) {
        give_up_audit(socket.error().what);
        return;
    }
    audit_.emplace(Audit{.socket = std::move(*socket)});
    listener_.begin_audit();
}

// Linux goes on with its list as it is read. Events of what it had shown or passed over are all here a tick later.
void XfrmMirror::step_audit() {
    if (audit_ && audit_->dumped && !behind_) {
        end_audit();
    }
    for (unsigned reads = 0; audit_ && !audit_->dumped && reads < kAuditReads; ++reads) {
        const Result<Read> read = audit_->socket.read(bytes_of(buffer_));
        if (!read) {
            give_up_audit(read.error().what);
            return;
        }
        if (read->outcome == ReadOutcome::drained) {
            return;
        }
        if (read->outcome == ReadOutcome::overrun) {
            explicit_bzero(buffer_.data(), buffer_.size());
            give_up_audit("the kernel had no room for the answer");
            return;
        }
        const Wipe wipe{buffer_, read->bytes};
        const Dumped done = take(Message{bytes_of(buffer_).first(read->bytes)}, Source::audit);
        if (done == Dumped::failed) {
            give_up_audit(refusal_);
            return;
        }
        audit_->dumped = done == Dumped::complete;
    }
}

void XfrmMirror::end_audit() {
    audit_.reset();
    ++metrics_.audits;
    metrics_.audit_difference = listener_.end_audit();
    metrics_.audited = Clock::now();
    resync_due_ |= metrics_.audit_difference != 0;
    if (audits_.ends()) {
        say("SAs are compared again");
    }
}

void XfrmMirror::give_up_audit(const std::string& why) {
    audit_.reset();
    ++metrics_.errors;
    if (audits_.begins_or_lasts(Clock::now())) {
        say("comparing SAs: " + why);
    }
}

XfrmMirror::Dumped XfrmMirror::take(Message bytes, Source source) {
    while (!bytes.empty()) {
        const Result<MessageHeader> header = decode_header(bytes);
        if (!header) {
            ++metrics_.truncated;
            request_resync();
            if (source != Source::events) {
                refusal_ = header.error().what;
                return Dumped::failed;
            }
            problem(header.error().what);
            return Dumped::more;
        }
        if (const Dumped done = take_one(bytes.first(header->length), source); done != Dumped::more) {
            return done;
        }
        bytes = bytes.subspan(std::min(padded(header->length), bytes.size()));
    }
    return Dumped::more;
}

XfrmMirror::Dumped XfrmMirror::take_one(Message message, Source source) {
    const bool dumping = source != Source::events;
    const MessageHeader header = *decode_header(message);
    if (header.type == NLMSG_DONE) {
        return dumping ? Dumped::complete : Dumped::more;
    }
    if (dumping && (header.type == NLMSG_ERROR || (header.flags & NLM_F_DUMP_INTR) != 0)) {
        const Result<int> error = header.type == NLMSG_ERROR ? decode_error(message) : Result<int>{0};
        refusal_ = error && *error != 0 ? std::strerror(*error) : "interrupted";
        return Dumped::failed;
    }
    ++metrics_.messages;
    auto event = decode_xfrm(message);
    if (!event) {
        problem(event.error().what);  // the others go on
    } else if (*event && source != Source::audit) {
        listener_.apply(std::move(**event));
    } else if (auto* sa = *event ? std::get_if<SaEvent>(&**event) : nullptr) {
        listener_.audit(std::move(*sa));
    }
    return Dumped::more;
}

void XfrmMirror::problem(std::string_view what) {
    ++metrics_.errors;
    say(what);
}

void XfrmMirror::say(std::string_view what) const {
    if (on_problem_) {
        on_problem_(what);
    }
}

}  // namespace twinspan::netlink

#include "control/netlink/mirror.hpp"

#include "control/netlink/dump.hpp"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace twinspan::netlink {

namespace {

// A dump that is interrupted this often in a row is taken as it is, and repeated as a whole.
constexpr unsigned kMaxAttempts = 8;

constexpr std::size_t aligned(std::size_t length) noexcept { return (length + 3) & ~std::size_t{3}; }

// Calls f(header, message) for each message in what one read gave. False: the bytes make no sense from there on.
template <class F>
bool for_each_message(Message bytes, F&& f) {
    while (!bytes.empty()) {
        const Result<MessageHeader> header = decode_header(bytes);
        if (!header) {
            return false;
        }
        f(*header, bytes.first(header->length));
        bytes = bytes.subspan(std::min(aligned(header->length), bytes.size()));
    }
    return true;
}

Result<void> add_to_epoll(int epoll_fd, int fd) {
    epoll_event interest{};
    interest.events = EPOLLIN;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &interest) != 0) {
        return std::unexpected(Error{std::string("adding a netlink socket to epoll: ") + std::strerror(errno)});
    }
    return {};
}

// Routes that forwarding by destination can follow, from the tables that every packet is looked up in.
bool may_be_kept(const RouteEvent& route) noexcept {
    return (route.table == kTableMain || route.table == kTableLocal) && route.tos == 0 && route.source_length == 0 &&
           !route.cached && !route.encapsulated && route.type != RouteType::multicast && route.type != RouteType::other;
}

}  // namespace

Mirror::Mirror(const MirrorOptions& options, MirrorCallbacks callbacks)
    : options_(options), callbacks_(std::move(callbacks)), buffer_(Socket::kReadBytes) {}

Mirror::~Mirror() {
    for (const int fd : {epoll_fd_, wake_fd_}) {
        if (fd >= 0) {
            close(fd);
        }
    }
}

Result<std::unique_ptr<Mirror>> Mirror::open(const MirrorOptions& options, MirrorCallbacks callbacks) {
    std::unique_ptr<Mirror> mirror(new Mirror(options, std::move(callbacks)));
    Result<Socket> events = Socket::open_events(options.receive_buffer_bytes);
    if (!events) {
        return std::unexpected(events.error());
    }
    mirror->events_.emplace(std::move(*events));
    mirror->epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    mirror->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mirror->epoll_fd_ < 0 || mirror->wake_fd_ < 0) {
        return std::unexpected(
            Error{std::string("creating an epoll and an event descriptor: ") + std::strerror(errno)});
    }
    for (const int fd : {mirror->events_->fd(), mirror->wake_fd_}) {
        if (Result<void> added = add_to_epoll(mirror->epoll_fd_, fd); !added) {
            return std::unexpected(added.error());
        }
    }
    return mirror;
}

void Mirror::request_resync(Parts parts) {
    wanted_ |= parts;
    eventfd_write(wake_fd_, 1);
}

void Mirror::watch(const std::string& name) {
    if (names_.insert(name).second) {
        request_resync();  // its addresses and routes may have gone by
    }
}

Result<void> Mirror::on_readable() {
    eventfd_t wakes = 0;
    eventfd_read(wake_fd_, &wakes);
    if (dump_) {
        if (Result<void> read = read_dump(); !read) {
            return read;
        }
    }
    // Events after the dump: those that it knows of must be seen before it ends.
    const Result<bool> drained = read_events();
    if (!drained) {
        return std::unexpected(drained.error());
    }
    if (dump_ && dump_->rest.empty() && *drained) {
        end_dump();
    }
    // Only when nothing old is left to read: what was queued before an overrun must not be taken for newer than the
    // dump.
    if (!dump_ && !wanted_.empty() && *drained) {
        if (Result<void> begun = begin_dump(); !begun) {
            return begun;
        }
    }
    report();
    return {};
}

Result<void> Mirror::resync(std::chrono::milliseconds timeout) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    request_resync();
    for (;;) {
        if (Result<void> done = on_readable(); !done) {
            return done;
        }
        if (in_sync()) {
            return {};
        }
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) {
            return std::unexpected(Error{"the kernel's dump has not ended in time"});
        }
        pollfd ready{epoll_fd_, POLLIN, 0};
        poll(&ready, 1, dump_ ? static_cast<int>(left.count()) : 0);
    }
}

Result<bool> Mirror::read_events() {
    for (unsigned reads = 0; reads < options_.reads_per_call; ++reads) {
        const Result<Read> read = events_->read(buffer_);
        if (!read) {
            return std::unexpected(read.error());
        }
        switch (read->outcome) {
            case ReadOutcome::drained:
                return true;
            case ReadOutcome::overrun:
                ++metrics_.overruns;
                abandon_dump();
                request_resync();
                break;
            case ReadOutcome::data:
                take_events(Message(buffer_).first(read->bytes));
                break;
        }
    }
    return false;
}

Result<void> Mirror::read_dump() {
    for (unsigned reads = 0; dump_ && !dump_->rest.empty() && reads < options_.reads_per_call; ++reads) {
        const Result<Read> read = dump_->socket.read(buffer_);
        if (!read) {
            return std::unexpected(read.error());
        }
        if (read->outcome == ReadOutcome::drained) {
            return {};
        }
        if (read->outcome == ReadOutcome::overrun) {
            ++metrics_.overruns;
            abandon_dump();
            request_resync();
            return {};
        }
        const std::uint32_t sequence = dump_->sequence;
        take_dumped(Message(buffer_).first(read->bytes));
        if (dump_ && dump_->sequence != sequence) {
            if (dump_->rest.empty()) {
                return {};
            }
            if (Result<void> asked = ask_part(); !asked) {
                return asked;
            }
        }
    }
    return {};
}

void Mirror::take_events(Message bytes) {
    if (!batch_began_) {
        batch_began_ = std::chrono::steady_clock::now();
    }
    const bool whole = for_each_message(bytes, [&](const MessageHeader&, Message message) {
        ++metrics_.messages;
        Result<std::optional<Event>> event = decode(message);
        if (!event) {
            problem(event.error().what);
        } else if (*event) {
            wanted(**event, false) ? apply(std::move(**event)) : apply_unwatched(std::move(**event));
        }
    });
    if (!whole) {
        problem("rtnetlink event cut short");
        request_resync();
    }
}

void Mirror::apply(Event event) {
    // What Linux did in silence with it cannot be known from a dump that is already under way.
    wanted_ |= state_.apply(event, changes_);
}

// A route that is not kept may still have replaced one that was.
void Mirror::apply_unwatched(Event event) {
    auto* route = std::get_if<RouteEvent>(&event);
    if (route == nullptr || !may_be_kept(*route) || route->placement != RoutePlacement::replace) {
        return;
    }
    state_.apply(event, changes_);
    route->deleted = true;
    state_.apply(event, changes_);
}

void Mirror::take_dumped(Message bytes) {
    if (!batch_began_) {
        batch_began_ = std::chrono::steady_clock::now();
    }
    const std::uint32_t sequence = dump_->sequence;
    const bool whole = for_each_message(bytes, [&](const MessageHeader& header, Message message) {
        if (!dump_ || header.sequence != sequence || dump_->sequence != sequence) {
            return;  // the rest of a dump that has ended
        }
        dump_->interrupted |= (header.flags & NLM_F_DUMP_INTR) != 0;
        if (header.type == NLMSG_DONE) {
            end_of_part(0);
            return;
        }
        if (header.type == NLMSG_ERROR) {
            end_of_part(decode_error(message).value_or(EBADMSG));
            return;
        }
        ++metrics_.messages;
        Result<std::optional<Event>> event = decode(message);
        if (!event) {
            problem(event.error().what);
        } else if (*event && wanted(**event, true)) {
            state_.apply_dumped(**event, changes_);
        }
    });
    if (!whole) {
        problem("rtnetlink dump cut short");
        abandon_dump();
        request_resync();
    }
}

void Mirror::end_of_part(int error) {
    if (error != 0) {
        // A kernel without nexthop objects or IPv6 has nothing to list.
        if (error != EOPNOTSUPP && error != EAFNOSUPPORT) {
            problem(std::string("the kernel refused to list a part of its state: ") + std::strerror(error));
        }
        dump_->interrupted = false;
    }
    dump_->sequence = ++sequence_;
    if (dump_->interrupted) {
        ++metrics_.interruptions;
        dump_->interrupted = false;
        if (++dump_->attempts < kMaxAttempts) {
            return;  // the same part again; what it has shown stays marked
        }
        request_resync();
    }
    dump_->attempts = 0;
    dump_->rest.erase(dump_->rest.begin());
}

void Mirror::end_dump() {
    wanted_ |= state_.end_resync(changes_);
    std::erase_if(watched_, [this](IfIndex ifindex) { return state_.link(ifindex) == nullptr; });
    synced_ |= dump_->all;
    dump_.reset();
    ++metrics_.resyncs;
}

Result<void> Mirror::begin_dump() {
    // A socket of its own for each dump: what is left of an abandoned one goes with it.
    Result<Socket> socket = Socket::open();
    if (!socket) {
        return std::unexpected(socket.error());
    }
    if (Result<void> added = add_to_epoll(epoll_fd_, socket->fd()); !added) {
        return added;
    }
    const Parts parts = std::exchange(wanted_, Parts{});
    dump_.emplace(Dump{std::move(*socket), in_dump_order(parts), parts == Parts::all(), false, 0, ++sequence_});
    state_.begin_resync(parts);
    return ask_part();
}

Result<void> Mirror::ask_part() { return dump_->socket.send(dump_request(dump_->rest.front(), dump_->sequence)); }

// What the state has of it stays, unconfirmed, until the next dump has ended.
void Mirror::abandon_dump() { dump_.reset(); }

void Mirror::report() {
    if (!synced_) {
        return;
    }
    if (!changes_.empty()) {
        Changes batch = std::exchange(changes_, {});
        batch.sort_unique();
        ++metrics_.batches;
        if (callbacks_.on_changes) {
            callbacks_.on_changes(state_, batch);
        }
        if (batch_began_) {
            metrics_.last_lag = std::chrono::steady_clock::now() - *batch_began_;
        }
    }
    batch_began_.reset();
}

bool Mirror::wanted(Event& event, bool dumped) {
    if (auto* link = std::get_if<LinkEvent>(&event)) {
        return wanted_link(*link, dumped);
    }
    if (const auto* route = std::get_if<RouteEvent>(&event)) {
        const bool want = may_be_kept(*route) && (route->deleted || through_watched(*route));
        metrics_.routes_ignored += want ? 0 : 1;
        return want;
    }
    if (const auto* address = std::get_if<AddressEvent>(&event)) {
        return watched_.contains(address->ifindex);
    }
    if (const auto* neighbour = std::get_if<NeighbourEvent>(&event)) {
        return watched_.contains(neighbour->ifindex);
    }
    return true;
}

bool Mirror::wanted_link(LinkEvent& link, bool dumped) {
    if (link.deleted) {
        return watched_.erase(link.ifindex) != 0;
    }
    if (names_.contains(link.name)) {
        // One that was renamed into a watched name has addresses and routes that were not for us until now.
        const bool is_new = watched_.insert(link.ifindex).second;
        if (is_new && !(dumped && dump_->all)) {
            request_resync();
        }
        return true;
    }
    link.deleted = watched_.erase(link.ifindex) != 0;  // renamed away
    return link.deleted;
}

bool Mirror::through_watched(const RouteEvent& route) const {
    Route wrapped;
    wrapped.nexthop_id = route.nexthop_id;
    wrapped.nexthops = route.nexthops;
    const std::vector<NextHop> hops = state_.nexthops_of(wrapped);
    return hops.empty() ||
           std::ranges::any_of(hops, [&](const NextHop& hop) { return watched_.contains(hop.ifindex); });
}

void Mirror::problem(std::string_view what) {
    ++metrics_.errors;
    if (callbacks_.on_problem) {
        callbacks_.on_problem(what);
    }
}

}  // namespace twinspan::netlink

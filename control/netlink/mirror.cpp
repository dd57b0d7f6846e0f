#include "control/netlink/mirror.hpp"

#include "control/netlink/dump.hpp"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace twinspan::netlink {

namespace {

// A dump that is interrupted this often in a row is taken as it is, and repeated as a whole.
constexpr unsigned kMaxAttempts = 8;
// Before a dump that follows a failed one: doubled each time, so that a flood of events, or a machine without memory,
// does not keep us dumping.
constexpr std::chrono::milliseconds kFirstRetry{50};
constexpr unsigned kMaxDoublings = 6;
// The kernel changes a route before it says so; what an audit saw in between is heard of by then.
constexpr std::chrono::milliseconds kSuspicion{250};

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

// RFC 4291 section 2.5.6: every device with IPv6 has one.
bool is_link_local(const IpPrefix& prefix) noexcept {
    return prefix.family() == IpFamily::v6 && prefix.address.bytes[0] == 0xfe &&
           (prefix.address.bytes[1] & 0xc0) == 0x80;
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
    for (const int fd : {epoll_fd_, wake_fd_, timer_fd_}) {
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
    mirror->timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (mirror->epoll_fd_ < 0 || mirror->wake_fd_ < 0 || mirror->timer_fd_ < 0) {
        return std::unexpected(
            Error{std::string("creating an epoll, an event and a timer descriptor: ") + std::strerror(errno)});
    }
    for (const int fd : {mirror->events_->fd(), mirror->wake_fd_, mirror->timer_fd_}) {
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

void Mirror::request_audit() {
    audit_wanted_ = true;
    request_resync();
}

void Mirror::arm_timer(std::chrono::nanoseconds after) {
    itimerspec spec{};
    spec.it_value.tv_sec = static_cast<time_t>(after.count() / 1'000'000'000);
    spec.it_value.tv_nsec = static_cast<long>(std::max<std::int64_t>(after.count() % 1'000'000'000, 1));
    timerfd_settime(timer_fd_, 0, &spec, nullptr);
}

void Mirror::watch(const std::string& name) {
    if (names_.insert(name).second) {
        request_resync();  // its addresses and routes may have gone by
    }
}

Result<void> Mirror::on_readable() {
    eventfd_t wakes = 0;
    eventfd_read(wake_fd_, &wakes);
    eventfd_read(timer_fd_, &wakes);
    if (state_.busy()) {
        wanted_ |= state_.work(changes_);
    }
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
    // Only when nothing old is left to read or to do: what was queued before an overrun must not be taken for newer
    // than the dump.
    if (!dump_ && !wanted_.empty() && *drained && !state_.busy() && Clock::now() >= not_before_) {
        begin_dump();
    }
    if (suspects_ && *drained && Clock::now() >= suspects_->until) {
        report_audit();
    }
    report();
    if (state_.busy()) {
        eventfd_write(wake_fd_, 1);
    }
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
        poll(&ready, 1, static_cast<int>(left.count()));
    }
}

Result<bool> Mirror::read_events() {
    for (unsigned reads = 0; reads < options_.event_reads_per_call; ++reads) {
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
                retry_later({});
                break;
            case ReadOutcome::data:
                take_events(Message(buffer_).first(read->bytes));
                break;
        }
    }
    return false;
}

Result<void> Mirror::read_dump() {
    for (unsigned reads = 0; dump_ && !dump_->rest.empty() && reads < options_.dump_reads_per_call; ++reads) {
        const Result<Read> read = dump_->socket.read(buffer_);
        if (!read) {
            abandon_dump();
            retry_later(read.error().what);
            return {};
        }
        if (read->outcome == ReadOutcome::drained) {
            return {};
        }
        if (read->outcome == ReadOutcome::overrun) {
            ++metrics_.overruns;
            abandon_dump();
            retry_later({});
            return {};
        }
        const std::uint32_t sequence = dump_->sequence;
        take_dumped(Message(buffer_).first(read->bytes));
        if (dump_ && dump_->sequence != sequence) {
            if (dump_->rest.empty()) {
                return {};
            }
            if (Result<void> asked = ask_part(); !asked) {
                abandon_dump();
                retry_later(asked.error().what);
                return {};
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
        ++metrics_.truncated;
        problem("rtnetlink event cut short");
        request_resync();
    }
}

void Mirror::apply(Event event) {
    if (suspects_) {
        if (const auto* route = std::get_if<RouteEvent>(&event)) {
            suspects_->prefixes.erase(route->prefix);
        }
    }
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
        ++metrics_.truncated;
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
    if (!std::exchange(dump_->swept, true)) {
        wanted_ |= state_.end_resync(changes_);
    }
    if (state_.busy()) {
        return;
    }
    std::erase_if(watched_, [this](const auto& item) { return state_.link(item.first) == nullptr; });
    synced_ |= dump_->all;
    if (dump_->audit) {
        suspect(state_.routes().repaired(), dump_->began);
    }
    dump_.reset();
    failures_ = 0;
    ++metrics_.resyncs;
}

void Mirror::suspect(const std::vector<IpPrefix>& repaired, Clock::time_point began) {
    suspects_.emplace();
    suspects_->prefixes.insert(repaired.begin(), repaired.end());
    suspects_->report.took = std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - began);
    suspects_->until = Clock::now() + kSuspicion;
    arm_timer(kSuspicion);
}

void Mirror::report_audit() {
    AuditReport report = suspects_->report;
    report.difference = suspects_->prefixes.size();
    if (report.difference != 0) {
        report.example = *suspects_->prefixes.begin();
    }
    report.routes = state_.routes().size();
    suspects_.reset();
    ++metrics_.audits;
    metrics_.audit_difference = report.difference;
    if (callbacks_.on_audit) {
        callbacks_.on_audit(report);
    }
}

// A machine that is short of memory or descriptors for a moment: what we have stays, and the dump comes later.
void Mirror::begin_dump() {
    // A socket of its own for each dump: what is left of an abandoned one goes with it.
    Result<Socket> socket = Socket::open();
    Result<void> ready = socket ? add_to_epoll(epoll_fd_, socket->fd()) : std::unexpected(socket.error());
    if (ready) {
        const Parts parts = std::exchange(wanted_, Parts{});
        const bool all = parts == Parts::all();
        const bool audit = all && synced_ && !suspects_ && std::exchange(audit_wanted_, false);
        dump_.emplace(
            Dump{std::move(*socket), in_dump_order(parts), Clock::now(), all, audit, false, false, 0, ++sequence_});
        state_.begin_resync(parts, audit);
        ready = ask_part();
    }
    if (!ready) {
        abandon_dump();
        retry_later(ready.error().what);
    }
}

Result<void> Mirror::ask_part() { return dump_->socket.send(dump_request(dump_->rest.front(), dump_->sequence)); }

// What the state has of it stays, unconfirmed, until the next dump has ended.
void Mirror::abandon_dump() {
    audit_wanted_ |= dump_ && dump_->audit;
    dump_.reset();
}

void Mirror::retry_later(std::string_view why) {
    const auto wait = kFirstRetry * (1u << std::min(failures_, kMaxDoublings));
    // The first failure, an overrun above all, is put right at once.
    not_before_ = Clock::now() + (failures_ == 0 && why.empty() ? std::chrono::milliseconds{0} : wait);
    ++failures_;
    if (!why.empty()) {
        ++metrics_.retries;
        problem(why);
    }
    wanted_ |= Parts::all();
    arm_timer(wait);
}

void Mirror::report() {
    if (!synced_) {
        changes_.prefixes.clear();  // they may be a million
        return;
    }
    if (callbacks_.on_foreign_device && !dump_) {
        foreign_.name_new(callbacks_.on_foreign_device);
    }
    changes_.all_prefixes |= std::exchange(first_, false);
    if (!changes_.empty()) {
        Changes batch = std::exchange(changes_, {});
        batch.sort_unique();
        ++metrics_.batches;
        if (callbacks_.on_changes) {
            callbacks_.on_changes(state_, batch);
        }
        metrics_.last_lag = Clock::now() - batch_began();
    }
    batch_began_.reset();
}

bool Mirror::wanted(Event& event, bool dumped) {
    if (auto* link = std::get_if<LinkEvent>(&event)) {
        return wanted_link(*link, dumped);
    }
    if (const auto* route = std::get_if<RouteEvent>(&event)) {
        const bool want = may_be_kept(*route) && (route->deleted || wanted_route(*route));
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
    const auto known = watched_.find(link.ifindex);
    if (known != watched_.end()) {
        if (!link.deleted && link.name != known->second && renamed_.insert(link.ifindex).second) {
            problem("netdev " + known->second + " is called " + link.name + " now; it is followed as before");
        }
        link.name = known->second;  // the port and the data plane hold on to the device, whatever its name
        if (link.deleted) {
            renamed_.erase(link.ifindex);
            watched_.erase(known);
        }
        return true;
    }
    const bool taken = std::ranges::any_of(watched_, [&](const auto& item) { return item.second == link.name; });
    if (link.deleted || taken || !names_.contains(link.name)) {
        return false;
    }
    // One that was renamed into a watched name has addresses and routes that were not for us until now.
    watched_.emplace(link.ifindex, link.name);
    if (!(dumped && dump_->all)) {
        request_resync();
    }
    return true;
}

bool Mirror::wanted_route(const RouteEvent& route) {
    std::vector<NextHop> resolved;
    if (route.nexthop_id != 0) {
        Route wrapped;
        wrapped.nexthop_id = route.nexthop_id;
        wrapped.nexthops = route.nexthops;
        resolved = state_.nexthops_of(wrapped);
    }
    const std::vector<NextHop>& hops = route.nexthop_id != 0 ? resolved : route.nexthops;
    const auto is_watched = [&](const NextHop& hop) { return watched_.contains(hop.ifindex); };
    const bool want = hops.empty() || std::ranges::any_of(hops, is_watched);
    if (!want && route.table == kTableMain && route.type == RouteType::unicast && !is_link_local(route.prefix)) {
        foreign_.count(hops);
    }
    return want;
}

void Mirror::problem(std::string_view what) {
    ++metrics_.errors;
    if (callbacks_.on_problem) {
        callbacks_.on_problem(what);
    }
}

}  // namespace twinspan::netlink

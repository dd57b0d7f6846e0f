// The log over real sockets of the loopback, read by a decoder of its own. Time is the test's.
#include "control/nat/nat_log.hpp"

#include "dataplane/base/descriptor.hpp"
#include "tests/unit/control/nat/ipfix_decoder.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <deque>
#include <optional>
#include <vector>

namespace twinspan {
namespace {

using test::IpfixDecoder;
using test::IpfixMessage;

constexpr int kPatienceMs = 5000;

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

bool readable(int fd, int ms = kPatienceMs) {
    pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&wanted, 1, ms) == 1;
}

// A socket bound to the loopback; for TCP it listens.
class Receiver {
public:
    explicit Receiver(int kind, std::uint16_t port = 0) : fd_(::socket(AF_INET, kind, 0)) {
        const int yes = 1;
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        sockaddr_in address = loopback(port);
        EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        if (kind == SOCK_STREAM) {
            EXPECT_EQ(::listen(fd_.get(), 4), 0);
        }
        socklen_t length = sizeof address;
        ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length);
        port_ = ntohs(address.sin_port);
    }
    std::uint16_t port() const { return port_; }
    Descriptor accept() { return Descriptor{readable(fd_.get()) ? ::accept(fd_.get(), nullptr, nullptr) : -1}; }
    std::optional<IpfixMessage> datagram(IpfixDecoder& decoder, int ms = 0) {
        std::array<std::uint8_t, 65536> bytes;
        if (!readable(fd_.get(), ms)) {
            return std::nullopt;
        }
        const ssize_t n = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
        return decoder.decode(std::span{bytes}.first(static_cast<std::size_t>(n)));
    }

private:
    Descriptor fd_;
    std::uint16_t port_ = 0;
};

std::optional<IpfixMessage> next_of(int stream, IpfixDecoder& decoder) {
    std::vector<std::uint8_t> bytes(16);
    if (!readable(stream) || ::recv(stream, bytes.data(), 16, MSG_WAITALL) != 16) {
        return std::nullopt;
    }
    const std::size_t rest = (static_cast<std::size_t>(bytes[2]) << 8 | bytes[3]) - 16;
    bytes.resize(16 + rest);
    if (rest != 0 && ::recv(stream, bytes.data() + 16, rest, MSG_WAITALL) != static_cast<ssize_t>(rest)) {
        return std::nullopt;
    }
    return decoder.decode(bytes);
}

class Log {
public:
    Log(std::uint16_t port, IpfixTransport transport, NatLogConfig config = {}) {
        config.collector = {IpAddress::from(to_be32(INADDR_LOOPBACK)), port, transport};
        log.emplace(config, [this](std::size_t most, const std::function<void(const NatEvent&)>& fn) {
            std::size_t taken = 0;
            for (; taken < most && !waiting.empty(); ++taken) {
                fn(waiting.front());
                waiting.pop_front();
            }
            return taken;
        }, metrics);
    }
    void happens(std::uint32_t n, NatEventKind kind = NatEventKind::session_created) {
        for (std::uint32_t i = 0; i < n; ++i) {
            waiting.push_back({.inside = nat_key(to_be32(++host), {}, {}, {}, 6), .time = 1, .kind = kind});
        }
    }
    void tick(std::chrono::milliseconds later = std::chrono::milliseconds{10}) {
        now += later;
        log->tick(now, std::chrono::system_clock::time_point{std::chrono::seconds{1'700'000'000}});
    }
    std::uint64_t operator[](Metric metric) const { return metrics[metric]; }

    std::deque<NatEvent> waiting;
    std::uint32_t host = 0;
    Metrics metrics;
    std::chrono::steady_clock::time_point now{std::chrono::hours{1}};
    std::optional<NatLog> log;
};

TEST(NatLog, MovesToAnotherCollectorAndAnotherTransport) {
    Receiver first{SOCK_DGRAM};
    Receiver second{SOCK_STREAM};
    Log log{first.port(), IpfixTransport::udp};
    log.happens(3);
    log.tick();
    NatLogConfig config;
    config.collector = {IpAddress::from(to_be32(INADDR_LOOPBACK)), second.port(), IpfixTransport::tcp};
    config.domain = 9;
    log.log->follow(config);
    log.happens(4);
    log.tick();
    const Descriptor stream = second.accept();
    log.tick();
    IpfixDecoder decoder;
    std::size_t records = 0;
    for (bool begins = true; records < 4; begins = false) {
        const auto message = next_of(stream.get(), decoder);
        ASSERT_TRUE(message);
        EXPECT_EQ(message->templates != 0, begins) << "the new collector knows none";
        EXPECT_EQ(message->sequence, records) << "of this stream";
        EXPECT_EQ(message->domain, 9u);
        records += message->records.size();
    }
    EXPECT_EQ(log[Metric::nat_log_records], 7u);
    EXPECT_EQ(log[Metric::nat_log_unsent], 0u);
    EXPECT_EQ(log[Metric::nat_log_connections], 2u);
}

// All that a changed rate needs is the rate.
TEST(NatLog, KeepsItsConnectionWhenItsRateChanges) {
    Receiver receiver{SOCK_DGRAM};
    NatLogConfig config;
    Log log{receiver.port(), IpfixTransport::udp, config};
    log.tick();
    config.collector = {IpAddress::from(to_be32(INADDR_LOOPBACK)), receiver.port(), IpfixTransport::udp};
    config.rate = 2;
    log.log->follow(config);
    log.happens(5);
    log.tick();
    EXPECT_EQ(log[Metric::nat_log_records], 2u);
    EXPECT_EQ(log[Metric::nat_log_limited], 3u);
    EXPECT_EQ(log[Metric::nat_log_connections], 1u);
}

TEST(NatLogUdp, SendsTemplatesFirstAndCountsRecords) {
    Receiver receiver{SOCK_DGRAM};
    Log log{receiver.port(), IpfixTransport::udp};
    log.happens(100);
    log.tick();
    IpfixDecoder decoder;
    std::uint32_t records = 0;
    bool first = true;
    while (const auto message = receiver.datagram(decoder)) {
        EXPECT_EQ(message->templates != 0, first);
        EXPECT_EQ(message->sequence, records);
        EXPECT_EQ(message->export_seconds, 1'700'000'000u);
        EXPECT_EQ(message->domain, 1u);
        EXPECT_LE(message->length, 1472);
        for (const auto& record : message->records) {
            EXPECT_EQ(record.at(8), ++records);
        }
        first = false;
    }
    EXPECT_EQ(records, 100u);
    EXPECT_EQ(log[Metric::nat_log_records], 100u);
    EXPECT_EQ(log[Metric::nat_log_connected], 1u);
    EXPECT_EQ(log[Metric::nat_log_unsent], 0u);
    log.happens(1);
    log.tick();
    const auto next = receiver.datagram(decoder);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->sequence, 100u);
}

TEST(NatLogUdp, RepeatsTemplatesByTimeAndByMessages) {
    Receiver receiver{SOCK_DGRAM};
    Log log{receiver.port(), IpfixTransport::udp, {.refresh_seconds = 60, .refresh_messages = 5}};
    IpfixDecoder decoder;
    log.tick();
    ASSERT_EQ(receiver.datagram(decoder).value().templates, ipfix::templates().size()) << "at once";
    log.tick(std::chrono::milliseconds{59'000});
    EXPECT_FALSE(receiver.datagram(decoder)) << "nothing to say";
    log.tick(std::chrono::milliseconds{1'000});
    const auto alone = receiver.datagram(decoder);
    ASSERT_TRUE(alone);
    EXPECT_NE(alone->templates, 0u);
    EXPECT_TRUE(alone->records.empty());
    std::vector<bool> templates;
    for (int i = 0; i < 10; ++i) {
        log.happens(1);
        log.tick();
        templates.push_back(receiver.datagram(decoder).value().templates != 0);
    }
    const std::vector<bool> expected{false, false, false, false, true, false, false, false, false, true};
    EXPECT_EQ(templates, expected) << "every fifth message";
}

TEST(NatLogUdp, TellsTemplatesAgainWhenTheCollectorWasAway) {
    std::optional<Receiver> receiver{std::in_place, SOCK_DGRAM};
    const std::uint16_t port = receiver->port();
    Log log{port, IpfixTransport::udp};
    IpfixDecoder decoder;
    log.tick();
    receiver.reset();
    log.happens(1);
    log.tick();  // refused by the kernel of the other side
    receiver.emplace(SOCK_DGRAM, port);
    log.happens(1);
    log.tick();
    log.happens(1);
    log.tick();
    IpfixDecoder fresh;  // knows no template of before
    const auto first = receiver->datagram(fresh);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->templates, ipfix::templates().size());
    EXPECT_EQ(first->records.size(), 1u);
    EXPECT_EQ(first->sequence, 1u) << "UDP goes on counting";
    EXPECT_EQ(receiver->datagram(fresh).value().templates, 0u);
}

TEST(NatLogUdp, KeepsToItsRateButNotForWhatIsRare) {
    Receiver receiver{SOCK_DGRAM};
    Log log{receiver.port(), IpfixTransport::udp, {.rate = 100}};
    log.tick();
    log.happens(250);
    log.happens(3, NatEventKind::addresses_exhausted);
    log.tick();
    EXPECT_EQ(log[Metric::nat_log_records], 103u);
    EXPECT_EQ(log[Metric::nat_log_limited], 150u);
    for (int i = 0; i < 100; ++i) {  // a second
        log.happens(2);
        log.tick();
    }
    EXPECT_NEAR(static_cast<double>(log[Metric::nat_log_records]), 203, 2);
}

TEST(NatLogTcp, TellsTemplatesOnceForEachConnectionAndCountsAnew) {
    Receiver receiver{SOCK_STREAM};
    Log log{receiver.port(), IpfixTransport::tcp, {.refresh_seconds = 1, .refresh_messages = 1}};
    log.happens(3);
    log.tick();
    Descriptor stream = receiver.accept();
    for (int i = 0; i < 50; ++i) {
        log.tick(std::chrono::milliseconds{100});
    }
    log.happens(2);
    log.tick();
    IpfixDecoder decoder;
    const auto first = next_of(stream.get(), decoder);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->templates, ipfix::templates().size());
    EXPECT_EQ(first->records.size(), 3u);
    EXPECT_EQ(first->sequence, 0u);
    const auto second = next_of(stream.get(), decoder);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->templates, 0u);
    EXPECT_EQ(second->sequence, 3u);

    stream = Descriptor{-1};  // the collector ends the connection
    log.tick();
    log.happens(4);
    log.tick();
    EXPECT_EQ(log[Metric::nat_log_connected], 0u);
    EXPECT_EQ(log.waiting.size(), 4u) << "events wait in the rings";
    log.tick(Collector::kFirstBackoff);
    log.tick();
    Descriptor again = receiver.accept();
    ASSERT_GE(again.get(), 0);
    IpfixDecoder fresh;
    const auto third = next_of(again.get(), fresh);
    ASSERT_TRUE(third);
    EXPECT_EQ(third->templates, ipfix::templates().size());
    EXPECT_EQ(third->sequence, 0u);
    EXPECT_EQ(third->records.size(), 4u);
    EXPECT_EQ(log[Metric::nat_log_connections], 2u);
}

TEST(NatLogTcp, WaitsLongerAfterEachFailure) {
    std::optional<Receiver> receiver{std::in_place, SOCK_STREAM};
    const std::uint16_t port = receiver->port();
    receiver.reset();
    Log log{port, IpfixTransport::tcp};
    int attempts = 0;
    const auto start = log.now;
    while (log.now - start < std::chrono::minutes{5}) {
        const auto before = log.log->collector().attempts();
        log.tick();
        attempts += log.log->collector().attempts() != before ? 1 : 0;
    }
    // 250 ms, doubled up to 30 s: seven short ones, then two each minute.
    EXPECT_GE(attempts, 12);
    EXPECT_LE(attempts, 18);
    receiver.emplace(SOCK_STREAM, port);
    log.tick(Collector::kLongestBackoff);
    log.tick();
    EXPECT_EQ(log[Metric::nat_log_connected], 1u);
}

// A collector that takes nothing must cost neither time nor memory beyond the buffer.
TEST(NatLogTcp, ASlowCollectorHoldsNothingUp) {
    Receiver receiver{SOCK_STREAM};
    Log log{receiver.port(), IpfixTransport::tcp, {.rate = 10'000'000}};
    log.tick();
    const Descriptor stream = receiver.accept();
    for (int i = 0; i < 2000; ++i) {
        log.happens(NatLog::kMostAtOnce);
        log.tick();
        EXPECT_LE(log.log->collector().waiting(), Collector::kMostWaiting);
        if (log.waiting.size() > 100'000) {
            break;  // the rings would be full: loss is counted there
        }
    }
    EXPECT_GT(log.waiting.size(), 100'000u);
    // What was taken over arrives whole and in order once the collector reads.
    const std::uint64_t sent = log[Metric::nat_log_records];
    IpfixDecoder decoder;
    std::uint64_t records = 0;
    log.waiting.clear();
    while (records < sent) {
        log.tick();
        const auto message = next_of(stream.get(), decoder);
        ASSERT_TRUE(message);
        EXPECT_EQ(message->sequence, records);
        records += message->records.size();
    }
    EXPECT_EQ(log[Metric::nat_log_unsent], 0u);
}

TEST(NatLog, WantsWhatIsConfigured) {
    const auto wants = [](const NatLogConfig& config, NatEventKind kind) {
        return (wanted_events(config) & nat_event_bit(kind)) != 0;
    };
    EXPECT_FALSE(wants({}, NatEventKind::session_created));
    EXPECT_FALSE(wants({}, NatEventKind::mapping_ended));
    EXPECT_TRUE(wants({}, NatEventKind::ports_exhausted));
    EXPECT_TRUE(wants({}, NatEventKind::block_freed));
    EXPECT_TRUE(wants({.sessions = true}, NatEventKind::session_ended));
    EXPECT_TRUE(wants({.mappings = true}, NatEventKind::mapping_created));
}

TEST(NatLog, ControlsOwnEventsAreBounded) {
    Receiver receiver{SOCK_DGRAM};
    Log log{receiver.port(), IpfixTransport::udp};
    for (std::size_t i = 0; i < NatLog::kMostOwn + 5; ++i) {
        log.log->add({.kind = NatEventKind::high_water});
    }
    log.tick();
    EXPECT_EQ(log[Metric::nat_log_records], NatLog::kMostOwn);
    EXPECT_EQ(log[Metric::nat_log_unsent], 5u);
}

}  // namespace
}  // namespace twinspan

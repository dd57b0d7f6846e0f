// Paced UDP flows and an exact account of what became of each packet: what the failover scene measures with.
// Every packet carries flow, sequence number and send time; CLOCK_MONOTONIC is one clock for all namespaces.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace twinspan {
namespace {

using nlohmann::json;

constexpr std::uint64_t kNotedGapNs = 8'000'000;
constexpr std::uint32_t kMagic = 0x54535553;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kTickNs = 1'000'000;
constexpr std::size_t kBurst = 64;
constexpr std::size_t kMaxSize = 2048;
constexpr int kReceiveBufferBytes = 64 << 20;
constexpr int kFinalRepeats = 5;
constexpr std::uint64_t kFinalIntervalNs = 50'000'000;

struct Payload {
    std::uint32_t magic;
    std::uint32_t flow;
    std::uint64_t sequence;
    std::uint64_t sent_ns;
    std::uint64_t total;  // of the flow, in the packets that end it; 0 in all others
};
static_assert(sizeof(Payload) == 32);

struct Options {
    std::string address = "0.0.0.0";
    std::uint16_t port = 9000;
    std::uint32_t flows = 1;
    std::uint32_t rate = 10'000;
    double seconds = 10;
    std::size_t size = 200;
    std::uint16_t source_port = 0;
    std::string output;
};

volatile std::sig_atomic_t stop_requested = 0;

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

std::uint64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_until(std::uint64_t deadline_ns) {
    const timespec deadline{.tv_sec = static_cast<time_t>(deadline_ns / kNsPerSecond),
                            .tv_nsec = static_cast<long>(deadline_ns % kNsPerSecond)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr);
}

double to_ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

sockaddr_in endpoint(const std::string& address, std::uint16_t port) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    result.sin_port = htons(port);
    if (inet_pton(AF_INET, address.c_str(), &result.sin_addr) != 1) {
        throw std::invalid_argument(address + " is not an IPv4 address");
    }
    return result;
}

int open_socket(const sockaddr_in* local, const sockaddr_in* remote) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    if (local != nullptr && bind(fd, reinterpret_cast<const sockaddr*>(local), sizeof *local) != 0)
        fail("bind");
    if (remote != nullptr && connect(fd, reinterpret_cast<const sockaddr*>(remote), sizeof *remote) != 0) {
        fail("connect");
    }
    return fd;
}

// Sender.

class SenderFlow {
public:
    SenderFlow(const Options& options, std::uint32_t number) : number_(number), size_(options.size) {
        const sockaddr_in remote = endpoint(options.address, options.port);
        const sockaddr_in local =
            endpoint("0.0.0.0", options.source_port == 0 ? std::uint16_t{0}
                                                         : static_cast<std::uint16_t>(options.source_port + number));
        fd_ = open_socket(&local, &remote);
    }

    // A packet that the kernel refuses keeps its number for the next one: what has a number was on the wire.
    void send(std::uint64_t count) {
        while (count > 0) {
            const std::size_t wanted = std::min<std::uint64_t>(count, kBurst);
            fill(wanted, 0);
            const int sent = sendmmsg(fd_, messages_.data(), static_cast<unsigned>(wanted), 0);
            if (sent <= 0) {
                ++refused_;
                return;
            }
            sequence_ += static_cast<std::uint64_t>(sent);
            count -= static_cast<std::uint64_t>(sent);
        }
    }

    void send_final() {
        fill(1, sequence_);
        sendmmsg(fd_, messages_.data(), 1, 0);
    }

    [[nodiscard]] std::uint64_t sent() const { return sequence_; }
    [[nodiscard]] std::uint64_t refused() const { return refused_; }

private:
    void fill(std::size_t count, std::uint64_t total) {
        const std::uint64_t time = now_ns();
        for (std::size_t i = 0; i < count; ++i) {
            const Payload payload{kMagic, number_, sequence_ + i, time, total};
            std::memcpy(buffers_[i].data(), &payload, sizeof payload);
            vectors_[i] = {buffers_[i].data(), size_};
            messages_[i].msg_hdr = {};
            messages_[i].msg_hdr.msg_iov = &vectors_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    std::uint32_t number_;
    std::size_t size_;
    int fd_ = -1;
    std::uint64_t sequence_ = 0;
    std::uint64_t refused_ = 0;
    std::array<std::array<std::byte, kMaxSize>, kBurst> buffers_{};
    std::array<iovec, kBurst> vectors_{};
    std::array<mmsghdr, kBurst> messages_{};
};

// Gives each flow its share of the packets [from, to) of the whole stream, which go to the flows in turn.
void send_span(std::vector<SenderFlow>& flows, std::uint64_t from, std::uint64_t to) {
    for (std::size_t i = 0; i < flows.size(); ++i) {
        const auto due = [&](std::uint64_t n) { return (n + flows.size() - 1 - i) / flows.size(); };
        flows[i].send(due(to) - due(from));
    }
}

json send_streams(const Options& options) {
    std::vector<SenderFlow> flows;
    flows.reserve(options.flows);
    for (std::uint32_t i = 0; i < options.flows; ++i) flows.emplace_back(options, i);

    const std::uint64_t start = now_ns();
    const auto packets = static_cast<std::uint64_t>(options.rate * options.seconds);
    std::uint64_t done = 0;
    std::uint64_t latest = 0;
    for (std::uint64_t tick = start + kTickNs; done < packets && stop_requested == 0; tick += kTickNs) {
        sleep_until(tick);
        const std::uint64_t now = now_ns();
        latest = std::max(latest, now - std::min(now, tick));
        const auto due = static_cast<std::uint64_t>(static_cast<double>(now - start) / 1e9 * options.rate);
        const std::uint64_t target = std::min(due, packets);
        send_span(flows, done, target);
        done = target;
    }
    const std::uint64_t end = now_ns();
    for (int i = 0; i < kFinalRepeats; ++i) {
        sleep_until(end + static_cast<std::uint64_t>(i + 1) * kFinalIntervalNs);
        for (SenderFlow& flow : flows) flow.send_final();
    }

    json report{
        {"started_ns", start}, {"finished_ns", end}, {"latest_tick_ms", to_ms(latest)}, {"sent", json::array()}};
    std::uint64_t refused = 0;
    for (const SenderFlow& flow : flows) {
        report["sent"].push_back(flow.sent());
        refused += flow.refused();
    }
    report["refused"] = refused;
    return report;
}

// Receiver.

class ReceiverFlow {
public:
    void take(const Payload& payload, const sockaddr_in& source, std::uint64_t now) {
        if (payload.total != 0) {
            total_ = payload.total;
            return;
        }
        if (payload.sequence >= sent_ns_.size()) {
            sent_ns_.resize(payload.sequence + 1, 0);
        } else if (sent_ns_[payload.sequence] != 0) {
            ++duplicates_;
            return;
        } else {
            ++reordered_;
        }
        sent_ns_[payload.sequence] = payload.sent_ns;
        ++received_;
        note_arrival(payload, now);
        note_source(source);
    }

    [[nodiscard]] bool ended() const { return total_ != 0; }

    [[nodiscard]] json report(std::uint32_t number) const {
        const std::uint64_t expected = std::max<std::uint64_t>(total_, sent_ns_.size());
        std::array<char, INET_ADDRSTRLEN> address{};
        inet_ntop(AF_INET, &source_.sin_addr, address.data(), address.size());
        return {{"flow", number},
                {"expected", expected},
                {"ended", ended()},
                {"received", received_},
                {"lost", expected - received_},
                {"reordered", reordered_},
                {"duplicates", duplicates_},
                {"longest_gap_ms", to_ms(longest_gap_)},
                {"gaps", gaps_},
                {"longest_delay_ms", to_ms(longest_delay_)},
                {"source", std::string(address.data()) + ":" + std::to_string(ntohs(source_.sin_port))},
                {"source_changes", source_changes_},
                {"losses", losses(expected)}};
    }

private:
    void note_arrival(const Payload& payload, std::uint64_t now) {
        longest_delay_ = std::max(longest_delay_, now - std::min(now, payload.sent_ns));
        if (last_arrival_ != 0) {
            const std::uint64_t gap = now - last_arrival_;
            longest_gap_ = std::max(longest_gap_, gap);
            if (gap >= kNotedGapNs)
                gaps_.push_back({{"from_ns", last_arrival_}, {"ms", to_ms(gap)}});
        }
        last_arrival_ = now;
    }

    // A flow that is translated anew has lost its session.
    void note_source(const sockaddr_in& source) {
        const bool same = source.sin_port == source_.sin_port && source.sin_addr.s_addr == source_.sin_addr.s_addr;
        if (!same && received_ > 1)
            ++source_changes_;
        source_ = source;
    }

    // Runs of lost packets, each between the send times of the packets around it (0: none).
    [[nodiscard]] json losses(std::uint64_t expected) const {
        json runs = json::array();
        std::uint64_t before = 0;
        for (std::uint64_t i = 0; i < expected;) {
            if (sent_at(i) != 0) {
                before = sent_at(i++);
                continue;
            }
            const std::uint64_t first = i;
            while (i < expected && sent_at(i) == 0) ++i;
            const std::uint64_t after = i < expected ? sent_at(i) : 0;
            runs.push_back({{"first", first}, {"packets", i - first}, {"after_ns", before}, {"before_ns", after}});
        }
        return runs;
    }

    [[nodiscard]] std::uint64_t sent_at(std::uint64_t sequence) const {
        return sequence < sent_ns_.size() ? sent_ns_[sequence] : 0;
    }

    std::vector<std::uint64_t> sent_ns_;  // by sequence number; 0: not received
    std::uint64_t total_ = 0;
    std::uint64_t received_ = 0;
    std::uint64_t reordered_ = 0;
    std::uint64_t duplicates_ = 0;
    std::uint64_t last_arrival_ = 0;
    std::uint64_t longest_gap_ = 0;
    json gaps_ = json::array();  // those of at least kNotedGapNs, with the arrival they began at
    std::uint64_t longest_delay_ = 0;
    sockaddr_in source_{};
    std::uint64_t source_changes_ = 0;
};

// Takes one burst; false when nothing came for a while.
bool receive_burst(int fd, std::vector<ReceiverFlow>& flows) {
    static std::array<std::array<std::byte, kMaxSize>, kBurst> buffers;
    static std::array<sockaddr_in, kBurst> sources;
    std::array<iovec, kBurst> vectors{};
    std::array<mmsghdr, kBurst> messages{};
    for (std::size_t i = 0; i < kBurst; ++i) {
        vectors[i] = {buffers[i].data(), kMaxSize};
        messages[i].msg_hdr.msg_name = &sources[i];
        messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in);
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int count = recvmmsg(fd, messages.data(), kBurst, MSG_DONTWAIT, nullptr);
    const std::uint64_t now = now_ns();
    for (int i = 0; i < count; ++i) {
        const auto index = static_cast<std::size_t>(i);
        Payload payload{};
        if (messages[index].msg_len < sizeof payload)
            continue;
        std::memcpy(&payload, buffers[index].data(), sizeof payload);
        if (payload.magic == kMagic && payload.flow < flows.size()) {
            flows[payload.flow].take(payload, sources[index], now);
        }
    }
    return count > 0;
}

json receive_streams(const Options& options) {
    const sockaddr_in local = endpoint(options.address, options.port);
    const int fd = open_socket(&local, nullptr);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBufferBytes, sizeof kReceiveBufferBytes);
    std::vector<ReceiverFlow> flows(options.flows);
    const std::uint64_t deadline = now_ns() + static_cast<std::uint64_t>(options.seconds * 1e9);
    const auto unfinished = [&] { return !std::ranges::all_of(flows, &ReceiverFlow::ended); };
    pollfd readable{.fd = fd, .events = POLLIN, .revents = 0};
    while (stop_requested == 0 && now_ns() < deadline && unfinished()) {
        poll(&readable, 1, 100);
        while (receive_burst(fd, flows)) {
        }
        // One wake-up per millisecond takes what has come meanwhile, instead of one per packet.
        sleep_until(now_ns() + kTickNs);
    }
    json report{{"flows", json::array()}, {"received", 0}, {"lost", 0}};
    for (std::uint32_t i = 0; i < options.flows; ++i) {
        json flow = flows[i].report(i);
        report["received"] = report["received"].get<std::uint64_t>() + flow["received"].get<std::uint64_t>();
        report["lost"] = report["lost"].get<std::uint64_t>() + flow["lost"].get<std::uint64_t>();
        report["flows"].push_back(std::move(flow));
    }
    return report;
}

// Command line.

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"Sends or receives paced UDP flows and reports losses as JSON", "udp_stream"};
    app.require_subcommand(1);
    CLI::App* send = app.add_subcommand("send", "send flows to an address");
    CLI::App* receive = app.add_subcommand("receive", "receive until every flow has ended, or the time is up");
    for (CLI::App* command : {send, receive}) {
        command->add_option("--port", options.port, "UDP port of the receiver");
        command->add_option("--flows", options.flows)->check(CLI::Range(1, 1024));
        command->add_option("--seconds", options.seconds, "send for, or wait at most");
        command->add_option("--output", options.output, "file for the report; standard output without");
    }
    send->add_option("--to", options.address, "IPv4 address of the receiver")->required();
    send->add_option("--rate", options.rate, "packets per second, all flows together");
    send->add_option("--size", options.size, "bytes of UDP payload")->check(CLI::Range(sizeof(Payload), kMaxSize));
    send->add_option("--source-port", options.source_port, "of flow 0; the others follow; 0: any");
    receive->add_option("--bind", options.address, "IPv4 address to receive on");
    CLI11_PARSE(app, argc, argv);

    for (const int signal : {SIGTERM, SIGINT}) {
        std::signal(signal, [](int) { stop_requested = 1; });
    }
    const json report = *send ? send_streams(options) : receive_streams(options);
    if (options.output.empty()) {
        std::cout << report.dump(1) << '\n';
    } else if (!(std::ofstream(options.output) << report.dump(1) << '\n')) {
        throw std::runtime_error("cannot write " + options.output);
    }
    return 0;
}

}  // namespace
}  // namespace twinspan

int main(int argc, char** argv) {
    try {
        return twinspan::run(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << "udp_stream: " << error.what() << '\n';
        return 1;
    }
}

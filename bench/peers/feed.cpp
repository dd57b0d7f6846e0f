// Preloaded into a DPDK program that forwards from port 0 to port 1, both net_null: writes real packets into what port
// 0 receives, and takes the time between its bursts. So another program is measured with the generator and the method
// of measure.cpp, and without a change to it.
//
// The program's own loop and an empty loop over the same two ports take turns, in samples of a few hundred
// microseconds, size by size. After the last sample the result is written and the process ends.
//   TWINSPAN_FEED_FRAMES   the packets, as bench/peers/frames.py writes them
//   TWINSPAN_FEED_RESULT   JSON: samples in TSC cycles per packet, and one packet of each size that went out
//   TWINSPAN_FEED_SAMPLES  of each size
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

constexpr std::uint16_t kIn = 0, kOut = 1;    // ports
constexpr std::uint16_t kBurst = 32;          // what ipsec-secgw and testpmd ask for
constexpr unsigned kWarmUp = 8, kTimed = 32;  // bursts
constexpr unsigned kLook = 64;                // bursts of each size at the start, whose output is looked at

struct Size {
    std::uint16_t frame_len, copy_len, sent_len, frames;
    std::vector<std::uint8_t> bytes{};  // `frames` times `copy_len`
    std::uint16_t next = 0;
    std::vector<double> loop{}, empty{};  // cycles per packet
    std::vector<std::uint8_t> sent{};     // the first packet out that is sent_len long
};

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "feed: %s\n", what.c_str());
    std::_Exit(3);
}

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : (fail(std::string{name} + " is not set"), "");
}

std::vector<Size> read_frames(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    const std::vector<char> all{std::istreambuf_iterator<char>{file}, {}};
    std::vector<Size> sizes;
    for (std::size_t at = 0; at < all.size();) {
        std::array<std::uint16_t, 4> head;
        if (all.size() - at < sizeof(head)) {
            fail(path + ": cut off");
        }
        std::memcpy(head.data(), &all[at], sizeof(head));
        at += sizeof(head);
        const std::size_t bytes = std::size_t{head[1]} * head[3];
        if (bytes == 0 || all.size() - at < bytes) {
            fail(path + ": cut off");
        }
        sizes.push_back({.frame_len = head[0], .copy_len = head[1], .sent_len = head[2], .frames = head[3]});
        sizes.back().bytes.assign(&all[at], &all[at] + bytes);
        at += bytes;
    }
    if (sizes.empty()) {
        fail(path + ": no packets");
    }
    return sizes;
}

// On the program's worker thread, all of it.
class Feed {
public:
    Feed() : sizes_(read_frames(environment("TWINSPAN_FEED_FRAMES"))), result_(environment("TWINSPAN_FEED_RESULT")) {
        samples_ = static_cast<unsigned>(std::stoul(environment("TWINSPAN_FEED_SAMPLES")));
    }

    std::uint16_t received(rte_mbuf** packets, std::uint16_t n) {
        const std::uint64_t now = rte_rdtsc();
        if (turn_ == kWarmUp) {
            begin_ = now;
        } else if (turn_ == kWarmUp + kTimed) {
            Size& size = sizes_[size_];
            size.loop.push_back(static_cast<double>(now - begin_) / (kTimed * kBurst));
            size.empty.push_back(empty_loop());
            next_sample();
        }
        if (n != kBurst) {
            fail("port 0 gave " + std::to_string(n) + " packets: are the buffers used up?");
        }
        ++turn_;
        fed_ += n;
        if (looks_ != 0) {
            --looks_;
            if (looks_ % kLook == 0) {
                next_look();
            }
        }
        write(packets, n);
        return n;
    }

    void sent(rte_mbuf* const* packets, std::uint16_t n) {
        for (std::uint16_t i = 0; i < n; ++i) {
            for (Size& size : sizes_) {
                if (size.sent.empty() && packets[i]->pkt_len == size.sent_len && packets[i]->nb_segs == 1) {
                    const auto* data = rte_pktmbuf_mtod(packets[i], const std::uint8_t*);
                    size.sent.assign(data, data + size.sent_len);
                }
            }
        }
    }
    void look_with(const rte_eth_rxtx_callback* callback) {
        look_ = callback;
        looks_ = static_cast<unsigned>(kLook * sizes_.size());
        turn_ = kWarmUp + kTimed + 1;  // not yet
    }

private:
    void write(rte_mbuf** packets, std::uint16_t n) {
        Size& size = sizes_[size_];
        for (std::uint16_t i = 0; i < n; ++i) {
            rte_mbuf& m = *packets[i];
            std::memcpy(rte_pktmbuf_mtod(&m, void*), &size.bytes[std::size_t{size.next} * size.copy_len],
                        size.copy_len);
            size.next = size.next + 1u == size.frames ? std::uint16_t{0} : static_cast<std::uint16_t>(size.next + 1);
            m.data_len = size.frame_len;
            m.pkt_len = size.frame_len;
            m.ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        }
    }

    // What the program's loop does besides its work: a clock, both ports polled, one sent to.
    double empty_loop() {
        std::array<rte_mbuf*, kBurst> packets;
        const struct rte_eth_fp_ops& in = rte_eth_fp_ops[kIn];
        const struct rte_eth_fp_ops& out = rte_eth_fp_ops[kOut];
        std::uint64_t begin = 0;
        for (unsigned i = 0; i < kWarmUp + kTimed; ++i) {
            const std::uint64_t now = rte_rdtsc();
            begin = i == kWarmUp ? now : begin;
            const std::uint16_t n = in.rx_pkt_burst(in.rxq.data[0], packets.data(), kBurst);
            write(packets.data(), n);
            passed_ += out.tx_pkt_burst(out.txq.data[0], packets.data(), n);
            out.rx_pkt_burst(out.rxq.data[0], packets.data(), kBurst);
        }
        return static_cast<double>(rte_rdtsc() - begin) / (kTimed * kBurst);
    }

    void next_look() {
        size_ = (size_ + 1) % sizes_.size();
        if (looks_ == 0) {
            rte_eth_remove_tx_callback(kOut, 0, look_);
            rte_eth_stats_get(kOut, &at_begin_);
            fed_ = passed_ = 0;
            turn_ = 0;
        }
    }

    void next_sample() {
        turn_ = 0;
        size_ = (size_ + 1) % sizes_.size();
        if (size_ == 0 && sizes_.back().loop.size() == samples_) {
            end();
        }
    }

    // Up to a burst may still be inside the program, or be what it held when the count began.
    [[noreturn]] void end() {
        rte_eth_stats now{};
        rte_eth_stats_get(kOut, &now);
        const std::uint64_t out = now.opackets - at_begin_.opackets;
        if (out + 4 * kBurst < fed_ + passed_ || out > fed_ + passed_ + 4 * kBurst) {
            fail(std::to_string(fed_) + " packets in, " + std::to_string(out - passed_) + " out");
        }
        std::FILE* file = std::fopen(result_.c_str(), "w");
        if (file == nullptr) {
            fail(result_ + ": cannot be written");
        }
        std::fprintf(file, "{\"tsc_hz\": %llu, \"sizes\": [", static_cast<unsigned long long>(rte_get_tsc_hz()));
        for (const Size& size : sizes_) {
            std::fprintf(file, "%s\n {\"frame\": %u, \"sent\": \"", &size == sizes_.data() ? "" : ",", size.frame_len);
            for (const std::uint8_t byte : size.sent) {
                std::fprintf(file, "%02x", byte);
            }
            std::fprintf(file, "\"");
            print(file, "loop", size.loop);
            print(file, "empty", size.empty);
            std::fprintf(file, "}");
        }
        std::fprintf(file, "]}\n");
        std::fclose(file);
        std::_Exit(0);
    }
    static void print(std::FILE* file, const char* name, const std::vector<double>& samples) {
        std::fprintf(file, ", \"%s\": [", name);
        for (std::size_t i = 0; i < samples.size(); ++i) {
            std::fprintf(file, "%s%.2f", i == 0 ? "" : ",", samples[i]);
        }
        std::fprintf(file, "]");
    }

    std::vector<Size> sizes_;
    std::string result_;
    unsigned samples_ = 0;
    std::size_t size_ = 0;
    unsigned turn_ = 0;   // bursts of this sample
    unsigned looks_ = 0;  // bursts that are still looked at
    std::uint64_t begin_ = 0;
    std::uint64_t fed_ = 0, passed_ = 0;  // packets: to the program, through the empty loop
    rte_eth_stats at_begin_{};
    const rte_eth_rxtx_callback* look_ = nullptr;
};

Feed& feed() {
    static Feed instance;
    return instance;
}

std::uint16_t on_receive(std::uint16_t, std::uint16_t, rte_mbuf** packets, std::uint16_t n, std::uint16_t, void*) {
    return feed().received(packets, n);
}

std::uint16_t on_transmit(std::uint16_t, std::uint16_t, rte_mbuf** packets, std::uint16_t n, void*) {
    feed().sent(packets, n);
    return n;
}

template <class Function>
Function next_of(const char* name) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

// These two stand before DPDK's own, which they call.

// Once both ports run, they are fed.
extern "C" [[gnu::visibility("default")]] int rte_eth_dev_start(std::uint16_t port) {
    static const auto start = next_of<int (*)(std::uint16_t)>("rte_eth_dev_start");
    const int result = start(port);
    if (result == 0 && port == kOut) {
        feed().look_with(rte_eth_add_tx_callback(kOut, 0, on_transmit, nullptr));
        rte_eth_add_first_rx_callback(kIn, 0, on_receive, nullptr);
    }
    return result;
}

// ipsec-secgw takes no port that does not check the checksums of what it receives; ours are good.
extern "C" [[gnu::visibility("default")]] int rte_eth_dev_info_get(std::uint16_t port, rte_eth_dev_info* info) {
    static const auto get = next_of<int (*)(std::uint16_t, rte_eth_dev_info*)>("rte_eth_dev_info_get");
    const int result = get(port, info);
    if (result == 0) {
        info->rx_offload_capa |= RTE_ETH_RX_OFFLOAD_CHECKSUM;
    }
    return result;
}

// Seals packets with one static SA as fast as it may, until it is killed: sealer DIRECTORY 32|64 WIRE-DESCRIPTOR.
// As in twinspand, one thread seals and another reserves numbers on stable storage.
#include "tests/kill/wire.hpp"

#include <sys/mman.h>
#include <sys/prctl.h>

#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string_view>
#include <thread>

namespace twinspan {
namespace {

using test::Wire;

int refuse(const std::string& why) {
    std::fprintf(stderr, "sealer: %s\n", why.c_str());
    return 1;
}

[[noreturn]] void seal_for_ever(Engine& engine, OutboundSa& sa, Wire& wire) {
    for (std::uint64_t count = 0;;) {
        const SequenceBurst burst = sa.reserve_burst(32);
        for (std::uint64_t i = 0; i < burst.granted; ++i, ++count) {
            while (count == Wire::kCapacity) {
                ::pause();
            }
            sa.seal_in_place(engine, burst.first + i, wire.packets[count].data(), test::kPayloadLen, kNextHeaderIpv4);
            wire.count.store(count + 1, std::memory_order_release);
        }
        std::this_thread::yield();  // the driver and the other thread need this CPU as well
    }
}

int run(const char* directory, SequenceWidth width, int wire_fd) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a driver that fails leaves nothing behind
    void* shared = ::mmap(nullptr, sizeof(Wire), PROT_READ | PROT_WRITE, MAP_SHARED, wire_fd, 0);
    if (shared == MAP_FAILED) {
        return refuse("no wire");
    }
    auto engine = Engine::create();
    if (!engine) {
        return refuse(engine.error());
    }
    const SaConfig config = test::kill_test_sa(width);
    auto reservation = SequenceReservation::open(directory, config.spi, fingerprint(*engine, config), test::kChunk);
    if (!reservation) {
        return refuse(reservation.error());
    }
    auto sa = OutboundSa::create(*engine, config, reservation->first());
    if (!sa) {
        return refuse(sa.error());
    }
    const std::jthread worker{[&] { seal_for_ever(*engine, **sa, *static_cast<Wire*>(shared)); }};
    for (;;) {
        if (auto done = reservation->top_up(**sa); !done) {
            std::_Exit(refuse(done.error()));
        }
        std::this_thread::yield();
    }
}

}  // namespace
}  // namespace twinspan

int main(int argc, char** argv) {
    using enum twinspan::SequenceWidth;
    return argc == 4 ? twinspan::run(argv[1], std::string_view{argv[2]} == "64" ? bits64 : bits32, std::atoi(argv[3]))
                     : 2;
}

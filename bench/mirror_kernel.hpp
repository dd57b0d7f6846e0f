// The kernel's side of the mirror benchmark: a network namespace with three legs, a routing table of the size and shape
// of the Internet's, and a hand that changes it fast.
#pragma once

#include "control/netlink/types.hpp"
#include "dataplane/base/descriptor.hpp"
#include "dataplane/base/error.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace twinspan::bench {

struct BenchLeg {
    const char* netdev;
    const char* port;
    const char* address;
    std::uint32_t first_gateway;  // host order; kGateways of them follow each other
};
inline constexpr std::uint32_t kGateways = 16;
// Routes over the first two come and go; what leads over the third is unaffected.
inline constexpr std::array<BenchLeg, 3> kBenchLegs{{{"wan-a", "primary", "100.64.0.1/24", 0x64400010},
                                                     {"wan-b", "secondary", "100.64.1.1/24", 0x64400110},
                                                     {"wan-c", "third", "100.64.2.1/24", 0x64400210}}};

// Moves the calling thread into a network namespace of its own; threads made afterwards are in it too. Makes the legs'
// TAPs, up, with addresses and permanent neighbours. The descriptors keep the TAPs' carrier.
class BenchNamespace {
public:
    static Result<BenchNamespace> enter();
    netlink::IfIndex ifindex(std::size_t leg) const noexcept { return ifindex_[leg]; }

private:
    std::vector<Descriptor> taps_;
    std::array<netlink::IfIndex, kBenchLegs.size()> ifindex_{};
};

struct BenchPrefix {
    std::uint32_t address;  // host order
    std::uint8_t length;
    std::uint8_t leg;
    IpPrefix prefix() const noexcept { return {IpAddress::from(to_be32(address)), length}; }
};

// As long as those of the global table are: three in five are a /24. A hundredth of them lead over the third leg.
std::vector<BenchPrefix> internet_prefixes(std::size_t count, std::mt19937& random);

struct BenchHop {
    std::uint8_t leg;
    std::uint8_t gateway;  // below kGateways
};

// Writes changes to the kernel in batches, and does not wait for answers. One thread.
class KernelWriter {
public:
    static Result<KernelWriter> open(const BenchNamespace& space);

    void add(const BenchPrefix& prefix, std::span<const BenchHop> hops, std::uint32_t metric = 0);  // replaces
    void add_through(const BenchPrefix& prefix, std::uint32_t nexthop_id);
    void add_blackhole(const BenchPrefix& prefix);
    void remove(const BenchPrefix& prefix);
    void put_nexthop(std::uint32_t id, BenchHop hop);
    void put_group(std::uint32_t id, std::span<const std::uint32_t> members);
    void remove_nexthop(std::uint32_t id);
    void set_up(std::size_t leg, bool up);
    // Sends what has been written since. The kernel has done it when this returns.
    void flush();
    std::uint64_t sent() const noexcept { return sent_; }
    std::uint64_t refused() const noexcept { return refused_; }  // by the kernel; races with link flaps are no error

private:
    KernelWriter(Descriptor socket, const BenchNamespace& space) : socket_(std::move(socket)), space_(&space) {}
    void begin(std::uint16_t type, std::uint16_t flags, const void* body, std::size_t size);
    void attribute(std::uint16_t type, const void* value, std::size_t size);
    void end();
    void begin_route(std::uint16_t type, std::uint16_t flags, const BenchPrefix& prefix, std::uint8_t kind);
    std::uint32_t gateway(BenchHop hop) const noexcept;

    Descriptor socket_;
    const BenchNamespace* space_;
    std::vector<std::byte> batch_;
    std::size_t message_ = 0;  // where the one being written begins
    std::uint64_t sent_ = 0;
    std::uint64_t refused_ = 0;
};

}  // namespace twinspan::bench

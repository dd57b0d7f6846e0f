// Where keys lie, and what is left of them: locked, out of core dumps, wiped.
#include "crypto/burst.hpp"

#include "tests/unit/crypto/test_keys.hpp"

#include <sys/mman.h>

#include <cstdio>
#include <fstream>

namespace twinspan {
namespace {

using test::Bytes;
using test::value;

// The flags of the pages that hold `address`, as /proc/self/smaps gives them ("lo": locked, "dd": not dumped).
std::string page_flags(const void* address) {
    std::ifstream smaps{"/proc/self/smaps"};
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    bool inside = false;
    for (std::string line; std::getline(smaps, line);) {
        std::uintptr_t begin = 0, end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
            inside = begin <= wanted && wanted < end;
        } else if (inside && line.starts_with("VmFlags:")) {
            return line + " ";
        }
    }
    return {};
}

bool has(const std::string& flags, const std::string& flag) {
    return flags.find(" " + flag + " ") != std::string::npos;
}

// Whether memory can be locked here: not under a sanitizer, which takes mlock out, nor below a low limit.
bool can_lock() {
    constexpr std::size_t kBytes = std::size_t{16} << 20;
    void* pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const bool locked = mlock(pages, kBytes) == 0 && has(page_flags(pages), "lo");
    munmap(pages, kBytes);
    return locked;
}

void expect_kept_secret(const void* address) {
    static const bool expect_locked = can_lock();
    const std::string flags = page_flags(address);
    EXPECT_TRUE(has(flags, "dd")) << flags;
    EXPECT_TRUE(!expect_locked || has(flags, "lo")) << flags;
}

TEST(SecrecyTest, KeysAndScratchMemoryAreLockedAndNotDumped) {
    Engine engine = value(Engine::create());
    expect_kept_secret(engine.manager());
    expect_kept_secret(engine.context());
    expect_kept_secret(engine.scratch());
    std::vector<std::unique_ptr<OutboundSa>> many;
    for (int i = 0; i < 5000; ++i) {  // more than one piece of memory
        many.push_back(value(OutboundSa::create(engine, test::sa_config(Suite::aes_256_gcm))));
    }
    expect_kept_secret(many.front()->schedule());
    expect_kept_secret(many.back()->schedule());
    const SaConfig config = test::sa_config(Suite::aes_256_cbc_hmac_sha512);
    expect_kept_secret(config.keymat.data());
    const int on_the_stack = 0;
    EXPECT_FALSE(has(page_flags(&on_the_stack), "dd"));
}

// What is left of an SA's memory but the free list's link. The memory stays mapped.
template <class Sa>
bool wiped(const Sa* sa, std::size_t size) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(sa);
    return std::all_of(begin + sizeof(void*), begin + size, [](std::uint8_t b) { return b == 0; });
}

TEST(SecrecyTest, ADeadSaLeavesNothing) {
    const Engine engine = value(Engine::create());
    for (const SuiteInfo& suite : kSuites) {
        auto out = value(OutboundSa::create(engine, test::sa_config(suite.id)));
        auto in = value(InboundSa::create(engine, test::sa_config(suite.id), 64));
        const auto* out_at = out.get();
        const auto* in_at = in.get();
        EXPECT_FALSE(wiped(out_at, sa_size(suite.id)));
        out.reset();
        in.reset();
        EXPECT_TRUE(wiped(out_at, sa_size(suite.id))) << suite.name;
        EXPECT_TRUE(wiped(in_at, sa_size(suite.id))) << suite.name;
    }
}

TEST(SecrecyTest, AnSaTakesAtMostTwoKibibytes) {
    for (const SuiteInfo& suite : kSuites) {
        EXPECT_LE(sa_size(suite.id), 2048u) << suite.name;
        EXPECT_EQ(sa_size(suite.id) / 64 % 2, 1u) << suite.name;
    }
    EXPECT_EQ(sa_size(Suite::aes_256_gcm), 1472u);
}

TEST(SecrecyTest, TheMemoryOfAnSaIsUsedAgain) {
    const Engine engine = value(Engine::create());
    auto first = value(OutboundSa::create(engine, test::sa_config(Suite::aes_256_gcm)));
    const void* at = first.get();
    first.reset();
    const auto second = value(OutboundSa::create(engine, test::sa_config(Suite::aes_128_gcm)));
    EXPECT_EQ(static_cast<const void*>(second.get()), at);
}

// What burst.cpp fetches ahead of a packet must hold every byte that the library reads of an expanded key: each 16
// bytes of one are changed in turn, and where the packet then comes out differently, they were read.
class KeyLinesTest : public test::EachArchitecture {};
INSTANTIATE_TEST_SUITE_P(, KeyLinesTest, testing::ValuesIn(test::kVariants), test::variant_name);

TEST_P(KeyLinesTest, AllThatIsReadIsFetchedAhead) {
    const HashKeyLayout keys = engine->hash_keys();
    for (const std::size_t len : {0u, 36u, 68u, 132u, 260u, 516u, 1420u, 9000u}) {
        const auto sa = value(OutboundSa::create(*engine, test::sa_config(Suite::aes_256_gcm)));
        auto* schedule = const_cast<std::uint8_t*>(sa->schedule());
        const auto sealed = [&] {
            Bytes packet(16 + len + kEspMaxRoom);
            const SealJob job{sa.get(), packet.data(), 1, static_cast<std::uint32_t>(len), kNextHeaderIpv4};
            seal_burst(*engine, {&job, 1});
            packet.resize(sa->sealed_len(len));
            return packet;
        };
        const Bytes expected = sealed();
        const auto fetched = [&](std::size_t at) {
            const auto within = [&](std::size_t end) { return at >= (end - keys.used(len)) / 64 * 64 && at < end; };
            return at < HashKeyLayout::kRoundKeys || within(keys.end()) || within(keys.end() + keys.second);
        };
        std::size_t read = 0;
        for (std::size_t at = 0; at < schedule_len(Suite::aes_256_gcm); at += 16) {
            schedule[at] ^= 1;
            if (sealed() != expected) {
                EXPECT_TRUE(fetched(at)) << len << " bytes read " << at;
                ++read;
            }
            schedule[at] ^= 1;
        }
        EXPECT_GE(read, 16u);
    }
}

}  // namespace
}  // namespace twinspan

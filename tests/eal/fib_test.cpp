#include "dataplane/config/fib.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace twinspan {
namespace {

constexpr RouteResult kNoRoute = RouteResult::dropped(Drop::no_route);

// The obvious longest-prefix match: from the longest length to the shortest, an exact look-up each.
template <unsigned Bits>
class Model {
public:
    using Address = std::array<std::uint8_t, Bits / 8>;

    static Address masked(Address address, unsigned length) {
        for (unsigned bit = length; bit < Bits; ++bit) {
            address[bit / 8] = static_cast<std::uint8_t>(address[bit / 8] & ~(0x80u >> bit % 8));
        }
        return address;
    }
    void insert(const Address& address, unsigned length, RouteResult result) {
        routes_.insert_or_assign({length, masked(address, length)}, result);
    }
    void erase(const Address& address, unsigned length) { routes_.erase({length, masked(address, length)}); }
    RouteResult find(const Address& address) const {
        for (unsigned length = Bits + 1; length-- > 0;) {
            if (const auto it = routes_.find({length, masked(address, length)}); it != routes_.end()) {
                return it->second;
            }
        }
        return kNoRoute;
    }
    const auto& routes() const { return routes_; }

private:
    std::map<std::pair<unsigned, Address>, RouteResult> routes_;
};

be32 to_be(const std::array<std::uint8_t, 4>& a) {
    return to_be32(static_cast<std::uint32_t>(a[0] << 24 | a[1] << 16 | a[2] << 8 | a[3]));
}

struct Ipv4Case {
    static constexpr unsigned kBits = 32;
    using Fib = Fib4;
    static constexpr std::array<unsigned, 9> kLengths{0, 8, 16, 20, 24, 25, 28, 31, 32};
    static be32 key(const Model<32>::Address& a) { return to_be(a); }
    static RouteResult look_up(const Fib& fib, const Model<32>::Address& a) {
        const std::uint32_t dst = to_be(a).host();
        std::uint64_t found = 0;
        fib.lookup().bulk(fib.lookup().table, &dst, &found, 1);
        return RouteResult::from_raw(static_cast<std::uint32_t>(found));
    }
};

struct Ipv6Case {
    static constexpr unsigned kBits = 128;
    using Fib = Fib6;
    static constexpr std::array<unsigned, 10> kLengths{0, 16, 24, 32, 33, 48, 56, 64, 127, 128};
    static Ipv6Address key(const Model<128>::Address& a) { return a; }
    static RouteResult look_up(const Fib& fib, const Model<128>::Address& a) {
        std::uint64_t found = 0;
        fib.lookup().bulk(fib.lookup().table, &a, &found, 1);
        return RouteResult::from_raw(static_cast<std::uint32_t>(found));
    }
};

template <class Case>
class FibTest : public testing::Test {
protected:
    static constexpr unsigned kBits = Case::kBits;
    using Table = Model<kBits>;
    using Address = typename Table::Address;

    FibTest() {
        auto fib = Case::Fib::create("fib-under-test", 16384);
        EXPECT_TRUE(fib) << fib.error().what;
        fib_ = std::make_unique<typename Case::Fib>(std::move(*fib));
    }
    unsigned below(std::size_t n) { return static_cast<unsigned>(random_() % n); }
    // From a small world, so that prefixes lie in each other, side by side, and get erased again.
    Address address() {
        Address a{};
        for (std::size_t i = 0; i < a.size(); ++i) {
            a[i] = static_cast<std::uint8_t>(i == 0 ? 10 + below(2) : below(4) == 0 ? 0x80 : below(3));
        }
        a.back() = static_cast<std::uint8_t>(below(256));
        return a;
    }
    void expect_like_model(const Address& a) {
        EXPECT_EQ(Case::look_up(*fib_, a).raw(), model_.find(a).raw()) << testing::PrintToString(a);
    }
    void expect_all_like_model() {
        for (const auto& [key, result] : model_.routes()) {
            Address last = key.second;
            for (unsigned bit = key.first; bit < kBits; ++bit) {
                last[bit / 8] = static_cast<std::uint8_t>(last[bit / 8] | 0x80u >> bit % 8);
            }
            Address after = last;
            for (std::size_t i = after.size(); i-- > 0 && ++after[i] == 0;) {
            }
            for (const Address& a : {key.second, last, after}) {
                expect_like_model(a);
            }
        }
        for (unsigned i = 0; i < 200; ++i) {
            expect_like_model(address());
        }
    }

    std::mt19937 random_{20241120};
    Table model_;
    std::unique_ptr<typename Case::Fib> fib_;
};

using Cases = testing::Types<Ipv4Case, Ipv6Case>;
TYPED_TEST_SUITE(FibTest, Cases);

TYPED_TEST(FibTest, EmptyTableHasNoRoute) { EXPECT_EQ(TypeParam::look_up(*this->fib_, this->address()), kNoRoute); }

TYPED_TEST(FibTest, AnswersLikeTheModelThroughRandomChanges) {
    unsigned grace_periods = 0;
    this->fib_->synchronize_with([&] { ++grace_periods; });
    for (unsigned step = 0; step < 2000; ++step) {
        const auto address = this->address();
        const unsigned length = TypeParam::kLengths[this->below(TypeParam::kLengths.size())];
        if (this->below(3) != 0) {
            // Few results: equal neighbours make the library merge and free its tables.
            const RouteResult result{RouteKind::forward, this->below(4), this->below(2) == 0};
            ASSERT_TRUE(this->fib_->insert(TypeParam::key(address), length, result));
            this->model_.insert(address, length, result);
        } else {
            this->fib_->erase(TypeParam::key(address), length);
            this->model_.erase(address, length);
        }
        this->expect_like_model(address);
        if (step % 250 == 0) {
            this->expect_all_like_model();
        }
    }
    this->expect_all_like_model();
    if (TypeParam::kBits == 128) {
        EXPECT_GT(grace_periods, 100u);
    }
    while (!this->model_.routes().empty()) {
        const auto key = this->model_.routes().begin()->first;
        this->fib_->erase(TypeParam::key(key.second), key.first);
        this->model_.erase(key.second, key.first);
    }
    for (unsigned i = 0; i < 1000; ++i) {
        ASSERT_EQ(TypeParam::look_up(*this->fib_, this->address()), kNoRoute);
    }
}

TYPED_TEST(FibTest, FullTableIsAnErrorThatLeavesTheRest) {
    const unsigned length = TypeParam::kBits;
    typename Model<TypeParam::kBits>::Address a{};
    unsigned inserted = 0;
    Result<void> result;
    for (unsigned i = 0; i < 20'000 && result; ++i) {
        a = {};
        a[0] = static_cast<std::uint8_t>(1 + i / 65536);
        a[1] = static_cast<std::uint8_t>(i / 256);
        a[2] = static_cast<std::uint8_t>(i);
        a.back() = 1;
        result = this->fib_->insert(TypeParam::key(a), length, {RouteKind::forward, i});
        inserted += result ? 1 : 0;
    }
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().what.find("full"), std::string::npos) << result.error().what;
    EXPECT_GT(inserted, 50u);
    EXPECT_EQ(TypeParam::look_up(*this->fib_, a), kNoRoute);
    a[1] = a[2] = 0;
    EXPECT_EQ(TypeParam::look_up(*this->fib_, a), (RouteResult{RouteKind::forward, 0}));
}

TYPED_TEST(FibTest, BulkIsTheSameAsOneByOne) {
    for (unsigned i = 0; i < 300; ++i) {
        const unsigned length = TypeParam::kLengths[this->below(TypeParam::kLengths.size())];
        ASSERT_TRUE(this->fib_->insert(TypeParam::key(this->address()), length, {RouteKind::forward, i}));
    }
    using Key = std::conditional_t<TypeParam::kBits == 32, std::uint32_t, Ipv6Address>;
    for (unsigned n = 1; n <= 64; ++n) {
        std::vector<Key> keys;
        std::vector<RouteResult> expected;
        for (unsigned i = 0; i < n; ++i) {
            const auto a = this->address();
            if constexpr (TypeParam::kBits == 32) {
                keys.push_back(to_be(a).host());
            } else {
                keys.push_back(a);
            }
            expected.push_back(TypeParam::look_up(*this->fib_, a));
        }
        std::vector<std::uint64_t> found(n);
        const auto lookup = this->fib_->lookup();
        lookup.bulk(lookup.table, keys.data(), found.data(), n);
        for (unsigned i = 0; i < n; ++i) {
            ASSERT_EQ(found[i], expected[i].raw()) << i << " of " << n;
        }
    }
}

TEST(Fib6Test, ErasedPrefixIsFollowedByAGracePeriodBeforeTheNextInsert) {
    Fib6 fib = Fib6::create("fib-under-test", 16384).value();
    unsigned grace_periods = 0;
    fib.synchronize_with([&] { ++grace_periods; });
    const Ipv6Address a{0xfd, 0x10, 1}, b{0xfd, 0x50, 1};
    ASSERT_TRUE(fib.insert(a, 128, {RouteKind::forward, 1}));
    EXPECT_EQ(grace_periods, 0u);
    fib.erase(a, 128);
    EXPECT_EQ(grace_periods, 0u) << "nothing is taken yet";
    ASSERT_TRUE(fib.insert(b, 128, {RouteKind::forward, 2}));
    EXPECT_EQ(grace_periods, 1u);
}

// A second-level table that went is not written to before every worker has left it, and one wait serves all that went.
TEST(Fib4Test, ReusesSecondLevelTablesAfterOneGracePeriodForAll) {
    constexpr std::uint32_t kTables = 256;  // the least
    Fib4 fib = Fib4::create("fib-under-test", 1024).value();
    unsigned grace_periods = 0;
    fib.synchronize_with([&] { ++grace_periods; });
    const auto host = [](std::uint32_t i) { return to_be32(0x0a000001u + (i << 8)); };
    for (std::uint32_t i = 0; i < kTables; ++i) {
        ASSERT_TRUE(fib.insert(host(i), 32, {RouteKind::forward, i}));
    }
    ASSERT_FALSE(fib.insert(host(kTables), 32, {RouteKind::forward, 1}));
    EXPECT_EQ(grace_periods, 0u);
    for (std::uint32_t i = 0; i < 10; ++i) {
        fib.erase(host(i), 32);
    }
    for (std::uint32_t i = 0; i < 10; ++i) {
        ASSERT_TRUE(fib.insert(host(kTables + i), 32, {RouteKind::forward, i}));
    }
    EXPECT_EQ(grace_periods, 1u);
    EXPECT_FALSE(fib.insert(host(0), 32, {RouteKind::forward, 1}));
    EXPECT_EQ(fib.routes(), kTables);
}

TEST(Fib4Test, TakesNoMoreRoutesThanItWasMadeFor) {
    Fib4 fib = Fib4::create("fib-under-test", 1024).value();
    for (std::uint32_t i = 0; i < 1024; ++i) {
        ASSERT_TRUE(fib.insert(to_be32(i << 12), 20, {RouteKind::forward, 1}));
    }
    EXPECT_FALSE(fib.insert(to_be32(1024u << 12), 20, {RouteKind::forward, 1}));
    EXPECT_TRUE(fib.insert(to_be32(0), 20, {RouteKind::forward, 2})) << "a new result for a known prefix";
    fib.erase(to_be32(0), 20);
    EXPECT_TRUE(fib.insert(to_be32(1024u << 12), 20, {RouteKind::forward, 1}));
}

TYPED_TEST(FibTest, TooLongAPrefixIsRefused) {
    EXPECT_FALSE(this->fib_->insert(TypeParam::key(this->address()), TypeParam::kBits + 1, kNoRoute));
}

}  // namespace
}  // namespace twinspan

// The SA store's audit: finds what no event has said, and nothing else; a dump then puts it right.
#include "tests/unit/control/sa/site.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace twinspan {
namespace {

using test::FakeSa;
using test::Site;

TEST(SaAudit, WhereAllIsAsLinuxHasItNothingIsFoundAndNothingTouched) {
    Site site;
    const auto in = site.add(0x1001, false, 1);
    const auto out = site.add(0x1002, true, 2);
    site.kernel.add(0x1003, false, 3, 1001).if_id = 0;  // another program's
    FakeSa& unknown = site.kernel.add(0x1004, false, 4, 1001);
    unknown.if_id = 77;
    site.store->apply(site.kernel.event(unknown));
    site.store->commit();
    ASSERT_EQ(site.metrics[Metric::xfrm_sa_unknown_if_id], 1u);
    static_cast<void>(site.tunnel().out->reserve_burst(7));
    site.tunnel().in.at(0).sa->replay().accept(5);
    const unsigned writes = site.kernel.writes;
    const unsigned publications = site.publications;
    const auto sent = site.kernel.sas[out].replay;
    const auto seen = site.kernel.sas[in].replay;
    EXPECT_EQ(site.audit(), 0u);
    site.store->commit();
    EXPECT_EQ(site.kernel.writes, writes);
    EXPECT_EQ(site.publications, publications);
    EXPECT_EQ(site.kernel.sas[out].replay, sent);
    EXPECT_EQ(site.kernel.sas[in].replay, seen);
    EXPECT_EQ(site.tunnel().out->next_seq(), 8u);
    EXPECT_EQ(site.tunnel().in.at(0).sa->replay().highest(), 5u);
}

TEST(SaAudit, WhatNoEventHasSaidIsCountedAndADumpPutsItRight) {
    Site site;
    const auto gone = site.add(0x1001, false, 1);
    const auto replaced = site.add(0x1003, false, 3);
    site.add(0x1002, true, 2);
    EXPECT_EQ(site.audit(), 0u);
    site.kernel.sas.erase(gone);
    EXPECT_EQ(site.audit(), 1u);
    site.kernel.sas[replaced].key = 33;
    EXPECT_EQ(site.audit(), 2u);
    site.kernel.add(0x1005, false, 5, 1001);
    EXPECT_EQ(site.audit(), 3u);
    EXPECT_EQ(site.audit(), 3u) << "an audit alone changes nothing";
    site.dump();
    EXPECT_EQ(site.audit(), 0u);
    ASSERT_EQ(site.tunnel().in.size(), 2u);
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u);
}

// The list was read before what an event says, or after it.
TEST(SaAudit, WhatHappensMeanwhileIsNoDifference) {
    Site site;
    const auto read_late = site.add(0x1001, false, 1);
    const auto gone_early = site.add(0x1003, false, 3);
    site.store->begin_audit();
    auto old = site.kernel.event(site.kernel.sas[read_late]);
    site.remove(read_late);
    site.store->audit(std::move(old));  // it was there when Linux wrote the list
    site.remove(gone_early);
    site.add(0x1005, false, 5);  // behind where Linux reads
    const FakeSa& heard_later = site.kernel.add(0x1007, false, 7, 1001);
    site.store->audit(site.kernel.event(heard_later));
    site.store->apply(site.kernel.event(heard_later));
    site.store->commit();
    EXPECT_EQ(site.store->end_audit(), 0u);
    EXPECT_EQ(site.audit(), 0u);
}

TEST(SaAudit, ManyDifferencesAreNotAskedForOneByOne) {
    Site site;
    constexpr std::uint32_t kSas = 1000;
    for (std::uint32_t i = 0; i < kSas; ++i) {
        site.kernel.add(0x2000 + i, false, 9, 1000).key = static_cast<std::uint8_t>(i);
    }
    unsigned questions = 0;
    site.kernel.on_question = [&] { ++questions; };
    EXPECT_EQ(site.audit(), kSas);
    EXPECT_LT(questions, 300u);
    EXPECT_GT(questions, 100u);
}

}  // namespace
}  // namespace twinspan

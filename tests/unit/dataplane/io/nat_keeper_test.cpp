// The records' memory over the ends of a process: read again, made clean, and never lost on the way.
#include "dataplane/io/nat_keeper.hpp"

#include "dataplane/io/nat_file.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace twinspan {
namespace {

using test::ip4;

class NatKeeperTest : public testing::Test {
protected:
    NatKeeperTest() {
        std::string name = "/dev/shm/twinspan-test-XXXXXX";
        folder_ = mkdtemp(name.data());
        std::ofstream{folder_ / "mounts"} << "tmpfs /dev/shm tmpfs rw 0 0\n";
    }
    ~NatKeeperTest() override { std::filesystem::remove_all(folder_); }

    NatKeeperOptions options(std::uint32_t sessions = 1000) const {
        return {.name = "nva",
                .sessions = sessions,
                .hugepages = false,
                .saved = folder_ / "saved",
                .shared_memory = folder_,
                .mounts = folder_ / "mounts"};
    }
    NatKeeper open(std::uint32_t sessions = 1000) const { return NatKeeper::open(options(sessions)); }
    std::filesystem::path file() const { return nat_file_in(folder_, "nva"); }
    std::size_t files() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{folder_}, {})) - 1;
    }

    static NatKey inside(std::uint32_t i) {
        return nat_key(to_be32(0x0a000000 + i), ip4("192.0.2.1"), to_be16(5000), to_be16(443), +IpProtocol::udp);
    }
    static void put(NatKeeper& keeper, std::uint32_t i) {
        NatSession& record = static_cast<NatSession*>(keeper.records())[i];
        const NatKey key = inside(i);
        record.inside_addresses = record.outside_addresses = key.addresses;
        record.inside_rest = record.outside_rest = key.rest;
        record.last_seen = record.created = 100;
        record.live = 1;
    }
    // A run with these records; what it leaves.
    void run(std::initializer_list<std::uint32_t> records, std::uint32_t sessions = 1000) const {
        NatKeeper keeper = open(sessions);
        keeper.clear({.table = 100, .boot = 50, .real = 7});
        keeper.name_pool(0, "microsoft");
        for (const std::uint32_t i : records) {
            put(keeper, i);
        }
        keeper.done();
    }

    std::filesystem::path folder_;
};

TEST_F(NatKeeperTest, SessionsOutliveTheProcess) {
    run({3, 7});
    NatKeeper again = open();
    ASSERT_EQ(again.found().size(), 1u);
    const NatSaved& saved = again.found()[0].saved;
    ASSERT_EQ(saved.sessions.size(), 2u);
    EXPECT_EQ(saved.sessions[1].inside, inside(7));
    EXPECT_EQ(saved.pools[0], "microsoft");
    EXPECT_EQ(saved.moment.boot, 50u);
    EXPECT_EQ(saved.boot_id, boot_id());
    EXPECT_EQ(again.seed(), saved.seed);
    EXPECT_NE(again.seed(), 0u);
    EXPECT_TRUE(again.problems().empty()) << again.problems()[0];
}

TEST_F(NatKeeperTest, MemoryIsCleanForTheTable) {
    run({3, 7});
    NatKeeper again = open();
    again.clear({.table = 200});
    const auto* records = static_cast<const NatSession*>(again.records());
    EXPECT_TRUE(std::all_of(records, records + 1001, [](const NatSession& r) {
        return r.live == 0 && r.inside() == NatKey{} && r.generation == 0;
    }));
    again.done();
    EXPECT_TRUE((*read_nat_file(file()))->sessions.empty());
}

TEST_F(NatKeeperTest, WhatAnotherProcessHasIsLeftAlone) {
    NatKeeper first = open();
    first.clear({.table = 100});
    put(first, 3);
    const auto bytes = std::filesystem::file_size(file());
    {
        NatKeeper second = open(10);
        EXPECT_EQ(second.records(), nullptr);
        EXPECT_TRUE(second.found().empty());
        ASSERT_EQ(second.problems().size(), 1u);
        EXPECT_NE(second.problems()[0].find("another process has its sessions there"), std::string::npos);
        second.clear({.table = 200});
        second.done();
    }
    EXPECT_EQ(std::filesystem::file_size(file()), bytes);
    EXPECT_EQ((*read_nat_file(file()))->sessions.size(), 1u);
}

TEST_F(NatKeeperTest, NothingStaysWhereNothingLives) {
    run({});
    EXPECT_EQ(files(), 0u);
    {
        const NatKeeper never_used = open();
    }
    EXPECT_EQ(files(), 0u);
}

TEST_F(NatKeeperTest, StartThatFailsLeavesAllAsItWas) {
    run({3, 7});
    {
        const NatKeeper failed = open(2000);
    }
    {
        const NatKeeper failed = open(10);
    }
    EXPECT_EQ(open().found()[0].saved.sessions.size(), 2u);
    EXPECT_EQ(files(), 1u);
}

TEST_F(NatKeeperTest, StartThatIsCutOffLosesNothing) {
    run({3, 7});
    {
        NatKeeper killed = open();
        killed.clear({.table = 100, .boot = 60});
        put(killed, 1);  // the first was back in the table
    }
    NatKeeper again = open();
    ASSERT_EQ(again.found().size(), 2u) << "the copy, and the file as the start left it";
    EXPECT_EQ(again.found()[0].saved.sessions.size(), 2u);
    EXPECT_EQ(again.found()[0].saved.moment.boot, 50u) << "of when they were seen";
    again.clear({});
    put(again, 1);
    again.done();
    EXPECT_EQ(files(), 1u);
}

// The other file lies where huge pages would be; each start that is cut off has taken the other folder.
TEST_F(NatKeeperTest, StartsThatAreCutOffLoseNothingOfTwoFolders) {
    const std::filesystem::path huge = folder_ / "huge", aside = folder_ / "aside";
    std::filesystem::create_directory(huge);
    run({3});
    std::filesystem::rename(file(), aside);
    run({7, 8});
    std::filesystem::rename(aside, nat_file_in(huge, "nva"));
    std::ofstream{folder_ / "mounts"} << "none " << huge.string() << " hugetlbfs rw 0 0\n";
    const auto sessions = [](NatKeeper& keeper) {
        std::set<std::uint64_t> result;
        for (const NatKeeper::Found& found : keeper.found()) {
            for (const NatSessionView& view : found.saved.sessions) {
                result.insert(view.inside.addresses);
            }
        }
        return result;
    };
    const std::set<std::uint64_t> all{inside(3).addresses, inside(7).addresses, inside(8).addresses};
    NatKeeperOptions wanted = options();
    for (const bool hugepages : {false, true, true, false}) {
        wanted.hugepages = hugepages;
        NatKeeper killed = NatKeeper::open(wanted);
        EXPECT_EQ(killed.file(), hugepages ? nat_file_in(huge, "nva") : file());
        EXPECT_EQ(sessions(killed), all) << hugepages;
        killed.clear({.table = 100, .boot = 60});
    }
    NatKeeper again = NatKeeper::open(wanted);
    EXPECT_EQ(sessions(again), all);
    again.clear({});
    put(again, 1);
    again.done();
    EXPECT_EQ(files(), 2u) << "the file, and the folder";
    EXPECT_TRUE(std::filesystem::is_empty(huge));
}

TEST_F(NatKeeperTest, TableMayBecomeLargerOrSmaller) {
    run({3, 900});
    run({3, 900}, 100'000);
    EXPECT_EQ(std::filesystem::file_size(file()), 1564u * 4096) << "whole pages";
    NatKeeper smaller = open(100);
    ASSERT_EQ(smaller.found()[0].saved.sessions.size(), 2u);
    smaller.clear({});
    put(smaller, 100);
    EXPECT_EQ(std::filesystem::file_size(file()), 12288u);
    smaller.done();
}

TEST_F(NatKeeperTest, WrongFilesAreNamedAndReplaced) {
    run({3, 7});
    std::filesystem::resize_file(file(), 8192);
    {
        NatKeeper keeper = open();
        EXPECT_TRUE(keeper.found().empty());
        ASSERT_EQ(keeper.problems().size(), 1u);
        EXPECT_EQ(keeper.problems()[0], file().string() + ": not taken: it ends after 64 of 1001 records");
        keeper.clear({});
        keeper.done();
        put(keeper, 5);
    }
    EXPECT_EQ(open().found()[0].saved.sessions.size(), 1u);
}

TEST_F(NatKeeperTest, WhatOthersMayHaveWrittenIsNotTaken) {
    run({3});
    ::chmod(file().c_str(), 0644);
    {
        NatKeeper keeper = open();
        EXPECT_TRUE(keeper.found().empty());
        EXPECT_EQ(keeper.problems().size(), 1u);
        struct stat is{};
        ::stat(file().c_str(), &is);
        EXPECT_EQ(is.st_mode & 0777, 0600u) << "made anew";
    }
    EXPECT_EQ(files(), 0u);
    std::ofstream{folder_ / "elsewhere"} << "something";
    ::chmod((folder_ / "elsewhere").c_str(), 0600);
    ::symlink((folder_ / "elsewhere").c_str(), file().c_str());
    {
        const NatKeeper keeper = open();
    }
    std::string text;
    std::ifstream{folder_ / "elsewhere"} >> text;
    EXPECT_EQ(text, "something") << "links are not followed";
}

TEST_F(NatKeeperTest, SavedSessionsAreTakenOnceAndWrongOnesStay) {
    run({3, 7});
    const auto saved = save_nat_sessions(file(), folder_ / "saved");
    ASSERT_TRUE(saved) << saved.error().what;
    EXPECT_EQ(*saved, 2u);
    std::filesystem::remove(file());  // a reboot
    {
        NatKeeper keeper = open();
        ASSERT_EQ(keeper.found().size(), 1u);
        EXPECT_EQ(keeper.found()[0].saved.sessions.size(), 2u);
        EXPECT_EQ(keeper.found()[0].saved.pools[0], "microsoft");
        keeper.clear({});
        keeper.done();
    }
    EXPECT_EQ(files(), 0u);
    std::ofstream{folder_ / "saved"} << "something else";
    ::chmod((folder_ / "saved").c_str(), 0600);
    {
        NatKeeper keeper = open();
        ASSERT_EQ(keeper.problems().size(), 1u);
        EXPECT_EQ(keeper.problems()[0],
                  (folder_ / "saved").string() + ": not taken: it holds no NAT sessions of twinspand");
        keeper.clear({});
        keeper.done();
    }
    EXPECT_TRUE(std::filesystem::exists(folder_ / "saved"));
}

TEST_F(NatKeeperTest, SavingSaysWhatIsWrong) {
    EXPECT_EQ(save_nat_sessions(file(), folder_ / "saved").error().what,
              file().string() + ": No such file or directory");
    run({3});
    EXPECT_EQ(save_nat_sessions(file(), folder_ / "no" / "where").error().what,
              (folder_ / "no" / "where.next").string() + ": No such file or directory");
    EXPECT_EQ(files(), 1u);
}

TEST_F(NatKeeperTest, WithoutMemoryItSaysWhy) {
    NatKeeperOptions wanted = options();
    wanted.shared_memory = "/proc";
    {
        NatKeeper keeper = NatKeeper::open(wanted);
        EXPECT_EQ(keeper.records(), nullptr);
        EXPECT_FALSE(keeper.problems().empty());
        keeper.clear({});
        keeper.done();
    }
    wanted = options(0xffff'fff0);  // more than there is
    EXPECT_EQ(NatKeeper::open(wanted).records(), nullptr);
    EXPECT_EQ(files(), 0u);
}

TEST_F(NatKeeperTest, SmallPagesAreNamedWhereHugeOnesAreWanted) {
    NatKeeperOptions wanted = options();
    wanted.hugepages = true;
    NatKeeper keeper = NatKeeper::open(wanted);
    EXPECT_NE(keeper.records(), nullptr);
    EXPECT_EQ(keeper.huge_bytes(), 0u);
    ASSERT_EQ(keeper.problems().size(), 1u);
    EXPECT_NE(keeper.problems()[0].find("no hugetlbfs is mounted"), std::string::npos);
}

// What the child finds wrong; it has a hugetlbfs mount of its own.
int in_huge_pages(NatKeeperOptions options, const std::filesystem::path& huge, void (*put)(NatKeeper&, std::uint32_t)) {
    options.hugepages = true;
    options.mounts = "/proc/mounts";
    options.sessions = 40'000;  // more than a page of 2 MiB
    for (int round = 0; round < 2; ++round) {
        NatKeeper keeper = NatKeeper::open(options);
        if (keeper.huge_bytes() != std::size_t{4} << 20 || keeper.file() != nat_file_in(huge, "nva")) {
            return 10 + round;
        }
        if (!keeper.problems().empty() || keeper.found().size() != static_cast<std::size_t>(round)) {
            return 20 + round;
        }
        keeper.clear({});
        put(keeper, 40'000);
        keeper.done();
    }
    options.hugepages = false;  // changed since: what lies in huge pages is found all the same, and goes
    NatKeeper keeper = NatKeeper::open(options);
    if (keeper.huge_bytes() != 0 || keeper.found().size() != 1 || keeper.found()[0].saved.sessions.size() != 1) {
        return 30;
    }
    keeper.clear({});
    keeper.done();
    return std::filesystem::is_empty(huge) ? 0 : 40;
}

TEST_F(NatKeeperTest, HugePagesHoldThemToo) {
    const std::filesystem::path huge = folder_ / "huge";
    std::filesystem::create_directory(huge);
    constexpr int kCannot = 99;
    const pid_t child = fork();
    if (child == 0) {
        const bool mounted = ::unshare(CLONE_NEWNS) == 0 &&
                             ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                             ::mount("none", huge.c_str(), "hugetlbfs", 0, "pagesize=2M,min_size=8M") == 0;
        ::_exit(mounted ? in_huge_pages(options(), huge, put) : kCannot);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == kCannot) {
        GTEST_SKIP() << "no hugetlbfs can be mounted, or it has no 8 MiB";
    }
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace twinspan

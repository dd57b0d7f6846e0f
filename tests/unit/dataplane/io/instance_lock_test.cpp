#include "dataplane/io/instance_lock.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace twinspan {
namespace {

class InstanceLockTest : public testing::Test {
protected:
    ~InstanceLockTest() override { std::filesystem::remove_all(directory_); }
    std::string directory_ = testing::TempDir() + "/twinspan-lock-" + std::to_string(getpid());
};

TEST_F(InstanceLockTest, SecondOfTheSameNameIsRefusedByName) {
    auto first = InstanceLock::take(directory_, "nva");
    ASSERT_TRUE(first) << first.error().what;
    auto second = InstanceLock::take(directory_, "nva");
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().what.find("\"nva\" is running"), std::string::npos) << second.error().what;
    EXPECT_TRUE(InstanceLock::take(directory_, "azgw"));
}

TEST_F(InstanceLockTest, LeavesNoFileAndCanBeTakenAgain) {
    {
        ASSERT_TRUE(InstanceLock::take(directory_, "nva"));
    }
    EXPECT_TRUE(std::filesystem::is_empty(directory_));
    EXPECT_TRUE(InstanceLock::take(directory_, "nva"));
}

TEST_F(InstanceLockTest, FileOfAProcessThatDiedIsNoObstacle) {
    const pid_t child = fork();
    if (child == 0) {
        auto lock = InstanceLock::take(directory_, "nva");
        _exit(lock ? 0 : 1);  // without destructors: the file stays
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    ASSERT_TRUE(std::filesystem::exists(directory_ + "/nva.lock"));
    EXPECT_TRUE(InstanceLock::take(directory_, "nva"));
}

TEST_F(InstanceLockTest, UnusableDirectoryIsNamed) {
    auto lock = InstanceLock::take("/proc/none", "nva");
    ASSERT_FALSE(lock);
    EXPECT_NE(lock.error().what.find("/proc/none/nva.lock"), std::string::npos);
}

}  // namespace
}  // namespace twinspan

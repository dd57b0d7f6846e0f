// A machine that has no descriptors left.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace twinspan::netlink::test {

// The process gets none from number `most` on while this lives.
class DescriptorLimit {
public:
    explicit DescriptorLimit(rlim_t most) {
        EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
        const rlimit few{most, before_.rlim_max};
        EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    }
    ~DescriptorLimit() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }
    DescriptorLimit(const DescriptorLimit&) = delete;
    DescriptorLimit& operator=(const DescriptorLimit&) = delete;

private:
    rlimit before_{};
};

}  // namespace twinspan::netlink::test

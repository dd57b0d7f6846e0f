// What the SA store asks of Linux about one SA. A test puts another kernel in its place.
#pragma once

#include "control/netlink/xfrm_types.hpp"

#include <expected>
#include <string>

namespace twinspan::netlink {

struct KernelRefusal {
    int code = 0;  // errno; ESRCH: there is no such SA
    std::string what;
};

template <class T>
using Answer = std::expected<T, KernelRefusal>;

class XfrmKernel {
public:
    virtual ~XfrmKernel() = default;
    // What the SA's numbers and counters are now.
    virtual Answer<SaCheckpoint> read(const SaId& id) = 0;
    // When it returns without a refusal, Linux has it. What the checkpoint leaves out stays.
    virtual Answer<void> write(const SaCheckpoint& checkpoint) = 0;
    // Tells the key daemon that a limit is reached. After a hard one Linux has no such SA any more.
    virtual Answer<void> expire(const SaId& id, bool hard) = 0;
};

}  // namespace twinspan::netlink

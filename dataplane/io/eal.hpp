// DPDK's environment: memory and drivers. One per process, and not twice in its life.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/io/instance_lock.hpp"

#include <cstdint>
#include <string>
#include <vector>

struct rte_mempool;
struct rte_ring;

namespace twinspan {

struct EalOptions {
    std::string name = "twinspan";
    std::string runtime_directory = "/run/twinspan";  // of the lock file
    bool hugepages = true;
    std::uint32_t memory_mib = 1024;  // taken at the start, so that it is there later
    std::vector<std::string> args;    // appended as they are
};

class Eal {
public:
    static Result<Eal> start(const EalOptions& options);
    // The same with the instance's lock, which stays where it is on an error.
    static Result<Eal> start(const EalOptions& options, InstanceLock&& lock);
    Eal(Eal&& other) noexcept;
    Eal& operator=(Eal&&) = delete;
    ~Eal();  // leaves no file behind

private:
    explicit Eal(InstanceLock lock) noexcept : lock_(std::move(lock)) {}
    InstanceLock lock_;
    bool running_ = true;
};

// Makes the calling thread known to EAL (a cache in each mempool needs it), names it, and pins it when `cpu` is given.
class RegisteredThread {
public:
    static constexpr unsigned kAnyCpu = ~0u;
    explicit RegisteredThread(const std::string& name, unsigned cpu = kAnyCpu) noexcept;
    ~RegisteredThread();
    RegisteredThread(const RegisteredThread&) = delete;
    RegisteredThread& operator=(const RegisteredThread&) = delete;
};

// While it lives, threads that are started inherit a mask that leaves signals to the threads that exist already.
class SignalsBlocked {
public:
    SignalsBlocked() noexcept;
    ~SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    alignas(8) std::uint8_t saved_[128];  // sigset_t
};

}  // namespace twinspan

#include "dataplane/io/eal.hpp"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

namespace twinspan {
namespace {

// EAL pins its main lcore. With all CPUs of the process for it, it is pinned to what it had.
std::string main_lcore_anywhere(const cpu_set_t& allowed) {
    std::string cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && cpu < RTE_MAX_LCORE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed)) {
            cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
        }
    }
    return "--lcores=0@(" + cpus + ")";
}

std::vector<std::string> arguments(const EalOptions& options, const cpu_set_t& allowed) {
    std::vector<std::string> args{
        "twinspand",
        "--file-prefix=" + options.name,
        main_lcore_anywhere(allowed),
        "--no-telemetry",           // its socket would stay behind
        "--log-level=*:warning",
        "--log-level=lib.eal:error",  // it warns of every page size that has no free page
        "--allow=0000:00:00.0",     // never a NIC: PCI ports are probed by name, and no other is taken from Linux
        "-m",
        std::to_string(options.memory_mib),
    };
    if (options.hugepages) {
        args.emplace_back("--in-memory");  // hugepages without files
    } else {
        args.emplace_back("--no-huge");
        args.emplace_back("--no-shconf");
    }
    args.insert(args.end(), options.args.begin(), options.args.end());
    return args;
}

Error init_error(const EalOptions& options) {
    std::string what = "DPDK did not start with " + std::to_string(options.memory_mib) + " MiB of " +
                       (options.hugepages ? "hugepages" : "plain memory") + ": " + rte_strerror(rte_errno);
    if (options.hugepages) {
        what += " (are enough hugepages free? see /proc/meminfo; `hugepages: false` does without)";
    }
    return {std::move(what)};
}

}  // namespace

SignalsBlocked::SignalsBlocked() noexcept {
    static_assert(sizeof(saved_) == sizeof(sigset_t));
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, reinterpret_cast<sigset_t*>(saved_));
}

SignalsBlocked::~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, reinterpret_cast<const sigset_t*>(saved_), nullptr); }

Result<Eal> Eal::start(const EalOptions& options) {
    auto lock = InstanceLock::take(options.runtime_directory, options.name);
    if (!lock) {
        return std::unexpected(lock.error());
    }
    return start(options, std::move(*lock));
}

Result<Eal> Eal::start(const EalOptions& options, InstanceLock&& lock) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    pthread_getaffinity_np(pthread_self(), sizeof(allowed), &allowed);
    std::vector<std::string> args = arguments(options, allowed);
    std::vector<char*> argv;
    for (std::string& arg : args) {
        argv.push_back(arg.data());
    }
    argv.push_back(nullptr);

    char thread_name[16] = "twinspand";
    pthread_getname_np(pthread_self(), thread_name, sizeof(thread_name));
    rte_openlog_stream(stderr);
    int rc = 0;
    {
        const SignalsBlocked blocked;
        rc = rte_eal_init(static_cast<int>(args.size()), argv.data());
    }
    if (rc < 0) {
        return std::unexpected(init_error(options));
    }
    pthread_setname_np(pthread_self(), thread_name);
    pthread_setaffinity_np(pthread_self(), sizeof(allowed), &allowed);
    return Eal{std::move(lock)};
}

Eal::Eal(Eal&& other) noexcept : lock_(std::move(other.lock_)), running_(std::exchange(other.running_, false)) {}

Eal::~Eal() {
    if (!running_) {
        return;
    }
    const std::string directory = rte_eal_get_runtime_dir();
    rte_eal_cleanup();
    std::error_code ignored;  // gone already is as good
    std::filesystem::remove_all(directory, ignored);
}

RegisteredThread::RegisteredThread(const std::string& name, unsigned cpu) noexcept {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    prctl(PR_SET_TIMERSLACK, 1000UL);  // ns: short sleeps are to be as short as they say
    if (cpu != kAnyCpu) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    }
    rte_thread_register();  // on failure the thread works without a mempool cache
}

RegisteredThread::~RegisteredThread() { rte_thread_unregister(); }

}  // namespace twinspan

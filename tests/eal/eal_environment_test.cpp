#include "tests/eal/eal_environment.hpp"

#include "dataplane/io/eal.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <optional>

// The AF_XDP driver does not give back what libxdp allocated for its buffers.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:xsk_umem__create"; }

namespace twinspan::testing_eal {
namespace {

class EalEnvironment : public testing::Environment {
public:
    void SetUp() override {
        directory_ = testing::TempDir() + "/twinspan-eal-" + std::to_string(getpid());
        auto eal = Eal::start({.name = "test-" + std::to_string(getpid()),
                               .runtime_directory = directory_,
                               .hugepages = false,
                               .memory_mib = 512,
                               .args = {}});
        ASSERT_TRUE(eal) << eal.error().what;
        eal_.emplace(std::move(*eal));
        auto pool = make_buffer_pool("test", kBuffers);
        ASSERT_TRUE(pool) << pool.error().what;
        pool_ = std::move(*pool);
    }
    void TearDown() override {
        pool_.reset();
        eal_.reset();
        std::filesystem::remove_all(directory_);
    }
    rte_mempool* pool() const noexcept { return pool_.get(); }

private:
    std::string directory_;
    std::optional<Eal> eal_;
    BufferPool pool_;
};

EalEnvironment* const environment =
    dynamic_cast<EalEnvironment*>(testing::AddGlobalTestEnvironment(new EalEnvironment));

}  // namespace

rte_mempool* buffers() { return environment->pool(); }
std::uint32_t buffers_free() { return rte_mempool_avail_count(buffers()); }

rte_mbuf* packet(std::uint8_t fill, std::uint16_t length) {
    rte_mbuf* m = rte_pktmbuf_alloc(buffers());
    if (m != nullptr) {
        std::memset(rte_pktmbuf_append(m, length), fill, length);
    }
    return m;
}

}  // namespace twinspan::testing_eal

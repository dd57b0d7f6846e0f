#include "bench/parts.hpp"

#include "crypto/sa.hpp"
#include "dataplane/config/snapshot.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <random>

namespace twinspan::bench {
namespace {

constexpr unsigned kSas = 10'000;  // of each direction
constexpr std::uint32_t kWindow = 1024;

// Resident, which is what an SA takes from the machine whoever allocates it.
double resident_bytes() {
    std::ifstream file{"/proc/self/statm"};
    double total = 0, resident = 0;
    file >> total >> resident;
    return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

SaConfig config_of(Suite suite, std::uint32_t spi) {
    SaConfig config;
    config.spi = spi;
    config.suite = suite;
    config.keymat = SecretBytes(keymat_len(suite));
    std::mt19937 random(spi);
    std::ranges::generate(std::span{config.keymat.data(), config.keymat.size()},
                          [&] { return static_cast<std::uint8_t>(random()); });
    return config;
}

template <class Make>
Result<double> bytes_each(Suite suite, Make&& make) {
    const double before = resident_bytes();
    std::vector<decltype(make(config_of(suite, 256)))> kept;
    kept.reserve(kSas);
    for (unsigned i = 0; i < kSas; ++i) {
        kept.push_back(make(config_of(suite, 0x1000 + i)));
        if (!kept.back()) {
            return std::unexpected(Error{kept.back().error()});
        }
    }
    return (resident_bytes() - before) / kSas;
}

}  // namespace

Result<nlohmann::json> Bench::memory() {
    nlohmann::json list = nlohmann::json::array();
    for (const Suite suite : {Suite::aes_256_gcm, Suite::chacha20_poly1305, Suite::aes_256_cbc_hmac_sha256}) {
        const auto out = bytes_each(suite, [&](const SaConfig& config) { return OutboundSa::create(engine_, config); });
        const auto in =
            bytes_each(suite, [&](const SaConfig& config) { return InboundSa::create(engine_, config, kWindow); });
        if (!out || !in) {
            return std::unexpected(!out ? out.error() : in.error());
        }
        // What the snapshot holds: the table of inbound SAs is at most half full.
        const double tunnel = sizeof(Tunnel), entry = 4 * sizeof(InboundSaEntry);
        std::printf("memory of an SA, %s: out %.0f + %.0f, in %.0f + %.0f bytes\n", std::string{name(suite)}.c_str(),
                    *out, tunnel, *in, entry);
        list.push_back({{"suite", name(suite)},
                        {"window", kWindow},
                        {"outbound_bytes", *out + tunnel},
                        {"inbound_bytes", *in + entry}});
    }
    return list;
}

}  // namespace twinspan::bench

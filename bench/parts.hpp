// The parts of the report. Each builds the sites that it measures and returns its rows; docs of the fields:
// bench/README.md.
#pragma once

#include "bench/measure.hpp"

#include <nlohmann/json.hpp>

#include <map>
#include <string_view>
#include <vector>

namespace twinspan::bench {

// Prints the row, and adds it to the list with these fields besides its own.
void append(nlohmann::json& list, const nlohmann::json& label, const Row& row);

class Bench {
public:
    Bench(rte_mempool* pool, Engine& engine, bool quick);

    Result<nlohmann::json> paths();   // every path in settings one and many
    Result<nlohmann::json> suites();  // ESP with other suites
    Result<nlohmann::json> outers();  // ESP behind other outer headers
    Result<nlohmann::json> scale();   // ESP into more and more tunnels
    Result<nlohmann::json> stages();  // ESP and forwarding, stage by stage
    Result<nlohmann::json> memory();  // of SAs
    Result<nlohmann::json> workers(); // one tunnel on one worker and on two
    Result<nlohmann::json> churn();   // SAs that come and go beside traffic
    Result<nlohmann::json> nat();     // both ways through 1,000 to 10,000,000 sessions
    Result<nlohmann::json> nat_memory(); // of NAT sessions
    Result<nlohmann::json> nat_opening();
    Result<nlohmann::json> nat_ageing();
    Result<nlohmann::json> nat_workers(); // each sees the other's replies

private:
    Result<std::vector<Row>> rows(Path path, const Setting& setting, const std::vector<SizePattern>& sizes);
    Result<double> bare(Suite suite, const SizePattern& sizes, Path path);
    Result<nlohmann::json> both_ways(const Setting& setting, const std::vector<SizePattern>& sizes,
                                     const nlohmann::json& label);
    std::uint32_t now_seconds() const noexcept;

    rte_mempool* pool_;
    Engine& engine_;
    bool quick_;
    Effort effort_;
};

}  // namespace twinspan::bench

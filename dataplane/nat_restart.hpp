// NAT sessions over a restart: what the keeper has found goes into the table. Control thread, before the workers begin.
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/dataplane.hpp"
#include "dataplane/io/nat_keeper.hpp"
#include "dataplane/state/nat_table.hpp"

#include <span>
#include <string>
#include <vector>

namespace twinspan {

// By these the sessions find their pool when the configuration has another order: "microsoft", "microsoft secondary".
std::vector<std::string> names_of(std::span<const NatPool> pools);

void name_pools(NatKeeper& keeper, std::span<const NatPool> pools);

// `table` has its records from `keeper`; `hz` is that of the clock of the workers.
NatKept restore(NatKeeper& keeper, NatTable& table, std::span<const NatPool> pools, std::uint64_t hz);

// On the workers' clock.
NatMoment moment_now(std::uint64_t hz) noexcept;

}  // namespace twinspan

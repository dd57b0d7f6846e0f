// Contradictions between the files of one import.
#include "control/import/azure.hpp"
#include "control/import/json_place.hpp"

#include <algorithm>

namespace twinspan::azure {

namespace {

void check_connection(const Inventory& inventory, const Connection& connection, std::vector<std::string>& errors) {
    const std::string what = "connection '" + connection.name + "': ";
    const auto gateway = std::ranges::find_if(
        inventory.gateways, [&](const Gateway& candidate) { return same_word(candidate.name, connection.gateway); });
    if (!connection.gateway.empty() && !inventory.gateways.empty() && gateway == inventory.gateways.end()) {
        errors.push_back(what + "found gateway '" + connection.gateway +
                         "', expected one of the gateways in the files");
    }
    if (gateway != inventory.gateways.end() && gateway->express_route == connection.ipsec) {
        errors.push_back(what + "found connectionType " + (connection.ipsec ? "IPsec" : "ExpressRoute") +
                         " on gateway '" + gateway->name + "' of type " +
                         (gateway->express_route ? "ExpressRoute" : "Vpn") + ", expected the same kind");
    }
    const bool known = inventory.circuits.empty() || connection.circuit.empty() ||
                       std::ranges::any_of(inventory.circuits, [&](const Circuit& circuit) {
        return same_word(circuit.name, connection.circuit);
    });
    if (!known) {
        errors.push_back(what + "found circuit '" + connection.circuit + "', expected '" +
                         inventory.circuits.front().name + "', which the files describe");
    }
}

}  // namespace

void check(const Inventory& inventory, std::vector<std::string>& errors) {
    if (inventory.circuits.size() > 1) {
        errors.push_back("found " + std::to_string(inventory.circuits.size()) +
                         " circuits, expected one: an instance serves the two links of one circuit");
    }
    for (const Connection& connection : inventory.connections) {
        check_connection(inventory, connection, errors);
    }
    for (std::size_t i = 0; i < inventory.networks.size(); ++i) {
        for (const Connection& connection : inventory.connections) {
            for (const Prefix4 mine : connection.site_prefixes4) {
                for (const Prefix4 theirs : inventory.networks[i].prefixes4) {
                    if (mine.overlaps(theirs)) {
                        errors.push_back("network '" + inventory.networks[i].name + "': found " + to_string(theirs) +
                                         ", expected it apart from the site's " + to_string(mine) + " of connection '" +
                                         connection.name + "'");
                    }
                }
            }
        }
    }
}

}  // namespace twinspan::azure

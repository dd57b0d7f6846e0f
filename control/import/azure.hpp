// Reads what Azure's templates and parameter files say of a circuit, its peerings, gateways, connections and networks.
#pragma once

#include "control/config/config.hpp"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace twinspan::azure {

struct Network {
    std::string name;
    std::vector<Prefix4> prefixes4;
    std::vector<Prefix6> prefixes6;
};

struct Gateway {
    std::string name;
    bool express_route = false;  // else VPN
    std::optional<std::uint32_t> asn;
};

// Of a gateway with a circuit, or with a VPN device of the site.
struct Connection {
    std::string name;
    bool ipsec = false;
    std::string shared_key;      // empty: not in the file
    std::string gateway;
    std::string circuit;
    std::optional<be32> site;    // the VPN device, as Azure sees it
    std::vector<Prefix4> site_prefixes4;
    bool bgp = false;            // inside the tunnel
    // ipsecPolicies: one set of algorithms in the place of the gateway's list, in strongSwan's notation.
    std::string ike_proposal;
    std::string esp_proposal;    // with the key exchange of PFS, if any
    std::uint32_t lifetime_s = 0;
    std::uint64_t lifetime_kb = 0;
};

struct Peering {
    Zone zone = Zone::private_peering;
    std::optional<std::uint32_t> asn;  // the site's
    std::optional<std::uint16_t> vlan;
    std::optional<Prefix4> primary;
    std::optional<Prefix4> secondary;
};

struct Circuit {
    std::string name;
    CircuitSku sku = CircuitSku::standard;
    std::uint32_t bandwidth_mbps = 0;
    std::string provider;
    std::string location;
    std::vector<Peering> peerings;
};

struct Inventory {
    std::vector<std::string> files;  // names, in their order
    std::vector<Network> networks;
    std::vector<Gateway> gateways;
    std::vector<Connection> connections;
    std::vector<Circuit> circuits;
};

// All files of the folder that end in .json, by name. An error names the file, the place in it, what was found and what
// was expected; none holds a shared key.
std::expected<Inventory, std::vector<std::string>> read_folder(const std::filesystem::path& folder);
// One document; `file` is its name in errors.
void read_document(const std::string& file, const std::string& text, Inventory& out, std::vector<std::string>& errors);
// What contradicts itself between the files.
void check(const Inventory& inventory, std::vector<std::string>& errors);

// A secret that the configuration names, for a file of mode 0600 beside it.
struct Secret {
    std::string file;
    std::string text;
};

struct Start {
    std::string yaml;
    std::vector<Secret> secrets;
    std::vector<std::string> unknown;  // what must be filled in, and where it is found
};
// A configuration of the site's end. What the files do not say stands as UNKNOWN-... in the values.
Start starting_configuration(const Inventory& inventory);

}  // namespace twinspan::azure

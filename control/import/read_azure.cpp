// From JSON documents to an inventory. A kind is known by what its object holds, not by the name of its file.
#include "control/import/azure.hpp"
#include "control/import/json_place.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>

namespace twinspan::azure {

namespace {

constexpr std::uintmax_t kLargestFileBytes = 4u << 20;
constexpr std::uint8_t kSmallestGatewaySubnet = 27;

// A template's resource has its values under `properties`, a parameter file has them at once.
Place inner(const Place& place) {
    const auto properties = place.find("properties");
    return properties ? *properties : place;
}

void read_subnets(const Place& place, const Network& network) {
    const auto list = place.find("subnets");
    if (!list) {
        return;
    }
    for (const Place& subnet : list->items()) {
        const std::string name = subnet.text("name").value_or("");
        const auto prefix = inner(subnet).prefix4("addressPrefix");
        if (!prefix) {
            continue;
        }
        if (same_word(name, "GatewaySubnet") && prefix->length > kSmallestGatewaySubnet) {
            subnet.error("found GatewaySubnet " + to_string(*prefix) +
                         ", expected a /27 or larger: gateways for both kinds of connections do not fit in less");
        }
        if (!network.prefixes4.empty() &&
            std::ranges::none_of(network.prefixes4, [&](Prefix4 whole) { return whole.covers(*prefix); })) {
            subnet.error("found subnet " + to_string(*prefix) +
                         ", expected it inside of the network's addressPrefixes");
        }
    }
}

void read_network(const Place& named, Inventory& out) {
    const Place place = inner(named);
    Network network;
    network.name = named.text("name").value_or("");
    const auto space = place.find("addressSpace");
    (space ? *space : place).prefixes("addressPrefixes", network.prefixes4, network.prefixes6);
    read_subnets(place, network);
    out.networks.push_back(std::move(network));
}

void read_gateway(const Place& named, Inventory& out) {
    const Place place = inner(named);
    Gateway gateway;
    gateway.name = named.text("name").value_or("");
    const std::string type = place.text("gatewayType").value_or("");
    gateway.express_route = same_word(type, "ExpressRoute");
    if (!gateway.express_route && !same_word(type, "Vpn")) {
        place.error("found gatewayType \"" + type + "\", expected ExpressRoute or Vpn");
    }
    if (const auto vpn = place.text("vpnType"); vpn && !gateway.express_route && !same_word(*vpn, "RouteBased")) {
        place.error("found vpnType \"" + *vpn + "\", expected RouteBased: policy-based gateways speak IKEv1 only");
    }
    if (const auto bgp = place.find("bgpSettings")) {
        gateway.asn = bgp->number("asn");
    }
    out.gateways.push_back(std::move(gateway));
}

void read_site(const Place& site, Connection& out) {
    const Place place = inner(site);
    out.site = place.find("ipAddress") ? place.address4("ipAddress") : place.address4("gatewayIpAddress");
    const auto space = place.find("localNetworkAddressSpace");
    std::vector<Prefix6> ignored;
    (space ? *space : place).prefixes("addressPrefixes", out.site_prefixes4, ignored);
}

void read_connection(const Place& named, Inventory& out) {
    const Place place = inner(named);
    Connection connection;
    connection.name = named.text("name").value_or("");
    const std::string type = place.text("connectionType").value_or("");
    connection.ipsec = same_word(type, "IPsec");
    if (!connection.ipsec && !same_word(type, "ExpressRoute")) {
        place.error("found connectionType \"" + type + "\", expected ExpressRoute or IPsec");
    }
    if (const auto key = place.find("sharedKey"); key && key->value().is_string()) {  // not one in a key vault
        connection.shared_key = place.text("sharedKey").value_or("");
    }
    if (const auto gateway = place.find("virtualNetworkGateway1")) {
        connection.gateway = gateway->text("name").value_or("");
    }
    for (const char* key : {"expressRouteCircuit", "peer"}) {
        if (const auto circuit = place.find(key)) {
            connection.circuit = circuit->text("name").value_or("");
        }
    }
    if (const auto version = place.text("connectionProtocol"); version && !same_word(*version, "IKEv2")) {
        place.error("found connectionProtocol \"" + *version + "\", expected IKEv2");
    }
    const auto bgp = place.find("enableBgp");
    connection.bgp = bgp && bgp->value() == true;
    const auto policies = place.find("ipsecPolicies");
    if (policies && policies->value().is_array() && connection.ipsec) {  // not a template's expression
        const std::vector<Place> each = policies->items();
        if (each.size() == 1) {
            read_policy(each.front(), connection);
        } else if (!each.empty()) {
            policies->error("found " + std::to_string(each.size()) + " policies, expected one: Azure takes no more");
        }
    }
    for (const char* key : {"localNetworkGateway", "localNetworkGateway2"}) {
        if (const auto site = place.find(key)) {
            read_site(*site, connection);
        }
    }
    out.connections.push_back(std::move(connection));
}

std::optional<Zone> peering_zone(const std::string& type) {
    return same_word(type, "AzurePrivatePeering")  ? std::optional{Zone::private_peering}
           : same_word(type, "AzurePublicPeering") ? std::optional{Zone::public_peering}
           : same_word(type, "MicrosoftPeering")   ? std::optional{Zone::microsoft_peering}
                                                   : std::nullopt;
}

void read_peering(const Place& named, Circuit& out) {
    const Place place = inner(named);
    const std::string type = place.text("peeringType").value_or(named.text("name").value_or(""));
    const auto zone = peering_zone(type);
    if (!zone) {
        place.error("found peeringType \"" + type +
                    "\", expected AzurePrivatePeering, AzurePublicPeering or MicrosoftPeering");
        return;
    }
    Peering peering;
    peering.zone = *zone;
    peering.asn = place.number("peerASN");
    if (const auto vlan = place.number("vlanId")) {
        if (*vlan < 1 || *vlan > 4094) {
            place.error("found vlanId " + std::to_string(*vlan) + ", expected one from 1 to 4094");
        } else {
            peering.vlan = static_cast<std::uint16_t>(*vlan);
        }
    }
    for (const auto& [key, prefix] : {std::pair{"primaryPeerAddressPrefix", &peering.primary},
                                      std::pair{"secondaryPeerAddressPrefix", &peering.secondary}}) {
        *prefix = place.prefix4(key);
        if (*prefix && (*prefix)->length != 30) {
            place.error("found " + std::string{key} + ' ' + to_string(**prefix) + ", expected a /30");
            prefix->reset();
        }
    }
    out.peerings.push_back(peering);
}

void read_circuit(const Place& named, Inventory& out) {
    const Place place = inner(named);
    Circuit circuit;
    circuit.name = named.text("name").value_or("");
    const auto sku = named.find("sku");
    const std::string tier = sku ? sku->text("tier").value_or("") : place.text("skuTier").value_or("");
    circuit.sku = same_word(tier, "Premium") ? CircuitSku::premium : CircuitSku::standard;
    if (!tier.empty() && circuit.sku == CircuitSku::standard && !same_word(tier, "Standard")) {
        place.error("found skuTier \"" + tier + "\", expected Standard or Premium");
    }
    const auto provider = place.find("serviceProviderProperties");
    const Place& from = provider ? *provider : place;
    if (const auto bandwidth = from.number("bandwidthInMbps")) {
        circuit.bandwidth_mbps = *bandwidth;
        if (*bandwidth == 0) {
            from.error("found bandwidthInMbps 0, expected the circuit's");
        }
    }
    circuit.provider = from.text("serviceProviderName").value_or("");
    circuit.location = from.text("peeringLocation").value_or("");
    if (const auto peerings = place.find("peerings")) {
        for (const Place& peering : peerings->items()) {
            read_peering(peering, circuit);
        }
    }
    out.circuits.push_back(std::move(circuit));
}

// True when the object is of a kind that is known.
bool read_object(const Place& place, Inventory& out) {
    const Place values = inner(place);
    if (values.find("connectionType")) {
        read_connection(place, out);
    } else if (values.find("gatewayType")) {
        read_gateway(place, out);
    } else if (values.find("skuTier") || values.find("bandwidthInMbps") || values.find("serviceProviderProperties")) {
        read_circuit(place, out);
    } else if (values.find("addressSpace") || (values.find("addressPrefixes") && values.find("subnets"))) {
        read_network(place, out);
    } else {
        return false;
    }
    return true;
}

}  // namespace

void read_document(const std::string& file, const std::string& text, Inventory& out, std::vector<std::string>& errors) {
    nlohmann::json document;
    try {
        document = nlohmann::json::parse(text, nullptr, true, true);  // templates may have comments
    } catch (const nlohmann::json::parse_error& e) {  // its text would quote the file, with its secrets
        errors.push_back(file + ": found broken JSON at byte " + std::to_string(e.byte) +
                         ", expected a template or parameter file");
        return;
    }
    const Place root{file, errors, document};
    const std::size_t errors_before = errors.size();
    bool known = false;
    if (const auto parameters = root.find("parameters")) {
        for (const auto& [name, parameter] : parameters->members()) {
            const auto value = parameter.find("value");
            known |= value && read_object(*value, out);
        }
    }
    if (const auto resources = root.find("resources")) {
        for (const Place& resource : resources->items()) {
            known |= read_object(resource, out);
        }
    }
    if (!known && errors.size() == errors_before) {
        root.error(
            "found nothing of a kind that is known, expected a virtual network, a virtual network gateway with its "
            "connections, or an ExpressRoute circuit");
    }
}

std::expected<Inventory, std::vector<std::string>> read_folder(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> paths;
    std::vector<std::string> errors;
    std::error_code error;
    for (std::filesystem::directory_iterator it{folder, error}, end; !error && it != end; it.increment(error)) {
        if (it->path().extension() == ".json") {
            paths.push_back(it->path());
        }
    }
    if (error) {
        return std::unexpected(std::vector{folder.string() + ": " + error.message()});
    }
    std::ranges::sort(paths);
    Inventory out;
    for (const std::filesystem::path& path : paths) {
        std::ifstream in{path, std::ios::binary};
        const std::uintmax_t size = std::filesystem::file_size(path, error);
        if (!in || error || size > kLargestFileBytes) {
            errors.push_back(path.string() + ": cannot read it, expected a file of 4 MiB at most");
            continue;
        }
        out.files.push_back(path.filename().string());
        read_document(path.string(), {std::istreambuf_iterator<char>{in}, {}}, out, errors);
    }
    if (paths.empty()) {
        errors.push_back(folder.string() +
                         ": found no file that ends in .json, expected Azure's templates or parameters");
    }
    check(out, errors);
    if (!errors.empty()) {
        return std::unexpected(std::move(errors));
    }
    return out;
}

}  // namespace twinspan::azure

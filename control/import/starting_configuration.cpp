// From an inventory to the YAML of the site's end.
#include "control/config/scalar.hpp"
#include "control/import/azure.hpp"
#include "control/import/json_place.hpp"
#include "control/render/text.hpp"

#include <algorithm>
#include <cctype>
#include <set>

namespace twinspan::azure {

namespace {

// A name of ours from one of Azure's: other characters become dashes.
std::string name_of(std::string text, std::size_t longest, const std::string& otherwise) {
    for (char& c : text) {
        c = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' ? c : '-';
    }
    text.resize(std::min(text.size(), longest));
    return parse_name(text) ? text : otherwise;
}

// What people wrote into Azure must not end a line, and with it a comment of ours.
std::string shown(const std::string& text) {
    std::string out;
    for (const char c : text.substr(0, 80)) {
        out += std::isprint(static_cast<unsigned char>(c)) != 0 ? c : '?';
    }
    return out.empty() ? "(without a name)" : out;
}

std::string bandwidth(std::uint32_t mbps) {
    return mbps % 1000 == 0 ? std::to_string(mbps / 1000) + "Gbps" : std::to_string(mbps) + "Mbps";
}

class Writer {
public:
    explicit Writer(const Inventory& inventory)
        : inventory_(inventory),
          has_circuit_(!inventory.circuits.empty() || !std::ranges::all_of(inventory.connections, &Connection::ipsec)) {
        for (const Connection& connection : inventory.connections) {
            if (connection.ipsec) {
                tunnels_.push_back(&connection);
            }
        }
    }

    Start write() {
        choose_names();
        render::Text body{2};
        write_top(body);
        write_peerings(body);
        write_tunnels(body);
        write_encrypt(body);
        render::Text head{2};
        head.line("# A starting configuration of the site's end, by twinspanctl import azure from:");
        for (const std::string& file : inventory_.files) {
            head.line("#   ", shown(file));
        }
        head.line("# Replace each UNKNOWN-... and see what twinspand --check says.");
        for (const std::string& unknown : start_.unknown) {
            head.line("# UNKNOWN: ", unknown);
        }
        start_.yaml = head.str() + body.str();
        return std::move(start_);
    }

private:
    // The value in the file, or a word that is no value, and a line for people.
    template <class Value>
    std::string or_unknown(const std::optional<Value>& value, const std::string& word, const std::string& what) {
        if (value) {
            if constexpr (std::is_arithmetic_v<Value>) {
                return std::to_string(*value);
            } else {
                return to_string(*value);
            }
        }
        return unknown(word, what);
    }
    std::string unknown(const std::string& word, const std::string& what) {
        start_.unknown.push_back(what);
        return "UNKNOWN-" + word;
    }

    void choose_names() {
        std::set<std::string> seen;
        for (const Connection* tunnel : tunnels_) {
            std::string name = name_of(tunnel->name, 13, "azure");
            for (unsigned n = 1; !seen.insert(name).second; ++n) {
                name = name_of(tunnel->name, 13, "azure") + std::to_string(n);
            }
            names_.push_back(std::move(name));
        }
    }

    const Peering* peering(Zone zone) const {
        for (const Circuit& circuit : inventory_.circuits) {
            const auto found = std::ranges::find(circuit.peerings, zone, &Peering::zone);
            if (found != circuit.peerings.end()) {
                return &*found;
            }
        }
        return nullptr;
    }

    void write_device(render::Text& text, const std::string& port, const std::string& what) {
        text.line(port,
                  ": { device: ", unknown(port + "-device", "ports." + port + ".device: the PCI address of " + what),
                  " }");
    }

    void write_top(render::Text& text) {
        text.line("version: 1");
        text.line("name: nva");
        text.line("role: on-premises");
        text.line("ports:");
        text.in();
        write_device(text, "lan", "the NIC towards the site");
        if (has_circuit_) {
            write_device(text, "primary", "the NIC towards Microsoft's primary router");
            write_device(text, "secondary", "the NIC towards Microsoft's secondary router");
        }
        if (!tunnels_.empty()) {
            write_device(text, "wan", "the NIC towards the internet");
        }
        text.out();
        if (has_circuit_) {
            write_circuit(text);
        }
    }

    void write_circuit(render::Text& text) {
        const Circuit nothing;
        const Circuit& circuit = inventory_.circuits.empty() ? nothing : inventory_.circuits.front();
        if (inventory_.circuits.empty()) {
            start_.unknown.emplace_back(
                "circuit.sku: standard is assumed, with its 4,000 prefixes: the circuit's SKU tier");
        }
        text.line("# ", shown(circuit.provider), ", ", shown(circuit.location));
        const std::string rate = circuit.bandwidth_mbps != 0
                                     ? bandwidth(circuit.bandwidth_mbps)
                                     : unknown("circuit-bandwidth", "circuit.bandwidth: the circuit's, like 50Mbps");
        text.line("circuit: { name: ", name_of(circuit.name, 32, "circuit"), ", bandwidth: ", rate,
                  ", sku: ", circuit.sku == CircuitSku::premium ? "premium" : "standard",
                  ", primary: primary, secondary: secondary }");
        std::optional<std::uint32_t> asn;
        for (const Peering& each : circuit.peerings) {
            asn = each.asn ? each.asn : asn;
        }
        std::string announce;
        for (const Prefix4 prefix : site_prefixes()) {
            announce += (announce.empty() ? "" : ", ") + to_string(prefix);
        }
        if (announce.empty()) {
            announce = unknown("site-prefixes", "bgp.announce: the site's prefixes, like 10.10.0.0/16");
        }
        text.line("bgp: { asn: ", or_unknown(asn, "asn", "bgp.asn: the site's AS number, as given to the peering"),
                  ", announce: [", announce, "] }");
    }

    std::set<Prefix4> site_prefixes() const {
        std::set<Prefix4> out;
        for (const Connection& connection : inventory_.connections) {
            out.insert(connection.site_prefixes4.begin(), connection.site_prefixes4.end());
        }
        return out;
    }

    void write_leg(render::Text& text, const Peering* known, Zone zone, Link link) {
        const std::string where = to_string(zone) + '-' + to_string(link);
        const std::string path = "peerings." + to_string(zone) + ".legs: ";
        std::optional<InterfaceAddress4> ours;
        if (known != nullptr) {
            if (const auto& subnet = link == Link::primary ? known->primary : known->secondary) {
                ours = InterfaceAddress4{to_be32(subnet->address.host() + 1), subnet->length};
            }
        }
        static const std::optional<std::uint16_t> kNone;
        const auto& vlan = known != nullptr ? known->vlan : kNone;
        text.line("- { link: ", to_string(link), ", vlan: ",
                  or_unknown(vlan, where + "-vlan",
                             path + "the VLAN of " + to_string(zone) + " peering on the " + to_string(link) + " link"),
                  ", addresses: [",
                  or_unknown(ours, where + "-address",
                             path + "the first address of the " + to_string(link) + " link's /30, with /30"),
                  "] }");
    }

    void write_circuit_peering(render::Text& text, Zone zone) {
        const Peering* known = peering(zone);
        if (known == nullptr && zone != Zone::private_peering) {
            return;
        }
        text.line(to_string(zone), ':');
        text.in();
        if (zone == Zone::private_peering && !names_.empty()) {
            std::string list;
            for (const std::string& name : names_) {
                list += (list.empty() ? "" : ", ") + name;
            }
            text.line("fallback: [", list, "]");
            start_.unknown.push_back("peerings.private.fallback: assumed: whether " + list +
                                     " stands in for the circuit, over the internet");
        }
        const bool premium = !inventory_.circuits.empty() && inventory_.circuits.front().sku == CircuitSku::premium;
        const unsigned guard = zone != Zone::private_peering ? 200 : premium ? 10000 : 4000;
        text.line("# With more prefixes from us Microsoft drops the session.");
        text.line("bgp: { max-prefixes: ", guard, " }");
        text.line("legs:");
        text.in();
        write_leg(text, known, zone, Link::primary);
        write_leg(text, known, zone, Link::secondary);
        text.out();
        if (carries_public_addresses_only(zone)) {
            text.line(
                "nat: { pool: [",
                unknown(to_string(zone) + "-pool",
                        "peerings." + to_string(zone) + ".nat.pool: public addresses of the site for this peering"),
                "] }");
        }
        text.out();
    }

    void write_peerings(render::Text& text) {
        text.line("peerings:");
        text.in();
        text.line("lan:");
        text.in();
        text.line("legs:");
        text.in();
        text.line("- { port: lan, addresses: [",
                  unknown("lan-address", "peerings.lan.legs: the address towards the site, with its length"), "] }");
        text.out();
        text.out();
        if (has_circuit_) {
            for (const Zone zone : {Zone::private_peering, Zone::public_peering, Zone::microsoft_peering}) {
                write_circuit_peering(text, zone);
            }
        }
        if (!tunnels_.empty()) {
            write_internet(text);
        }
        text.out();
    }

    void write_internet(render::Text& text) {
        std::set<be32> addresses;
        for (const Connection* tunnel : tunnels_) {
            if (tunnel->site) {
                addresses.insert(*tunnel->site);
            }
        }
        text.line("internet:");
        text.in();
        text.line("legs:");
        text.in();
        std::string list;
        for (const be32 address : addresses) {
            list += (list.empty() ? "" : ", ") + to_string(address) + "/UNKNOWN-wan-length";
        }
        start_.unknown.emplace_back("peerings.internet.legs: the length of the subnet towards the internet");
        if (list.empty()) {
            list = unknown("wan-address", "peerings.internet.legs: the address towards the internet, with its length");
        }
        text.line("- { port: wan, addresses: [", list, "] }");
        text.out();
        text.out();
    }

    void write_tunnels(render::Text& text) {
        if (tunnels_.empty()) {
            return;
        }
        text.line("tunnels:");
        text.in();
        for (std::size_t i = 0; i < tunnels_.size(); ++i) {
            const Connection& tunnel = *tunnels_[i];
            const std::string path = "tunnels." + names_[i] + '.';
            text.line("# Azure's connection ", shown(tunnel.name), ", gateway ", shown(tunnel.gateway));
            text.line(names_[i], ':');
            text.in();
            text.line("if-id: ", i + 1);
            text.line("local: ", or_unknown(tunnel.site, "wan-address",
                                            path + "local: our address, as Azure's local "
                                                   "network gateway has it"));
            text.line("remote: ", unknown(names_[i] + "-gateway",
                                          path + "remote: the public address of gateway " + shown(tunnel.gateway)));
            text.line("mtu: 1400");
            write_ike(text, tunnel, names_[i]);
            text.out();
            if (tunnel.shared_key.empty()) {
                start_.unknown.push_back(path + "ike.psk-file: the connection's shared key, one line in " + names_[i] +
                                         ".psk with mode 0600");
            } else {
                start_.secrets.push_back({names_[i] + ".psk", tunnel.shared_key + '\n'});
            }
            note_choices(tunnel, path);
        }
        text.out();
    }

    // A connection with a policy of its own takes nothing else.
    static void write_ike(render::Text& text, const Connection& tunnel, const std::string& name) {
        std::string more;
        if (!tunnel.ike_proposal.empty()) {
            more += ", proposals: [" + tunnel.ike_proposal + "]";
        }
        if (!tunnel.esp_proposal.empty()) {
            more += ", esp-proposals: [" + tunnel.esp_proposal + "]";
        }
        if (tunnel.lifetime_s != 0) {
            more += ", rekey-time: " + std::to_string(tunnel.lifetime_s) + "s";
        }
        if (tunnel.lifetime_kb != 0) {
            more += ", rekey-bytes: " + std::to_string(tunnel.lifetime_kb) + "KB";
        }
        text.line("ike: { psk-file: ", name, ".psk", more, " }");
    }

    // What the connection has and our file has no line for yet.
    void note_choices(const Connection& tunnel, const std::string& path) {
        if (tunnel.bgp) {
            const auto gateway = std::ranges::find_if(
                inventory_.gateways, [&](const Gateway& each) { return same_word(each.name, tunnel.gateway); });
            const auto asn = gateway == inventory_.gateways.end() ? std::nullopt : gateway->asn;
            start_.unknown.push_back(path +
                                     "address and bgp: the connection has enableBgp; peer is the gateway's "
                                     "address inside the tunnel" +
                                     (asn ? ", peer-asn " + std::to_string(*asn) : ""));
        }
    }

    // A network that only tunnels lead to is encrypted or not reached at all. Over a circuit it travels in clear unless
    // somebody decides otherwise: that decision is not in Azure's files.
    void write_encrypt(render::Text& text) {
        std::string list;
        for (const Network& network : inventory_.networks) {
            for (const Prefix4 prefix : network.prefixes4) {
                list += (list.empty() ? "" : ", ") + to_string(prefix);
            }
            for (const Prefix6& prefix : network.prefixes6) {
                list += (list.empty() ? "" : ", ") + ('"' + to_string(prefix) + '"');
            }
        }
        if (list.empty()) {
            start_.unknown.emplace_back("encrypt: the prefixes of the virtual network, when they must be encrypted");
        } else if (tunnels_.empty() || has_circuit_) {
            start_.unknown.push_back("encrypt: whether " + list +
                                     " may travel in clear over the circuit; if not, take the # from 'encrypt' below" +
                                     (tunnels_.empty() ? " and add tunnels" : ""));
            text.line("# encrypt: [", list, "]");
        } else {
            text.line("encrypt: [", list, "]");
        }
    }

    const Inventory& inventory_;
    bool has_circuit_;
    std::vector<const Connection*> tunnels_;
    std::vector<std::string> names_;  // of tunnels_
    Start start_;
};

}  // namespace

Start starting_configuration(const Inventory& inventory) { return Writer{inventory}.write(); }

}  // namespace twinspan::azure

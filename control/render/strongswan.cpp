// swanctl.conf and a piece of strongswan.conf: one connection and one child for each tunnel with `ike`.
#include "control/render/render.hpp"
#include "control/render/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <string_view>

namespace twinspan::render {

namespace {

constexpr std::size_t kLongestPsk = 255;
constexpr std::uint64_t kAllPackets = 4294967295;  // RFC 4303 section 2.2, without extended sequence numbers
// charon repeats an unanswered request after 2 s, then 1.5 times as late each time, and gives up after the last wait.
constexpr double kFirstWait = 2.0;
constexpr double kWaitGrows = 1.5;
double seconds_until_given_up(unsigned tries) {
    double sum = 0;
    for (unsigned i = 0; i <= tries; ++i) {
        sum += kFirstWait * std::pow(kWaitGrows, i);
    }
    return sum;
}

template <class Range>
std::string joined(const Range& parts) {
    std::string out;
    for (const auto& part : parts) {
        out += (out.empty() ? "" : ",") + std::string{part};
    }
    return out;
}

std::vector<const TunnelConfig*> negotiated(const Config& config) {
    std::vector<const TunnelConfig*> out;
    for (const TunnelConfig& tunnel : config.tunnels) {
        if (tunnel.ike) {
            out.push_back(&tunnel);
        }
    }
    return out;
}

// The time is global to charon: the shortest `dpd` decides.
unsigned retransmit_tries(const Config& config) {
    std::uint32_t shortest = 3600;
    for (const TunnelConfig* tunnel : negotiated(config)) {
        shortest = std::min(shortest, tunnel->ike->dpd_s);
    }
    unsigned tries = 4;
    while (tries > 0 && seconds_until_given_up(tries) > 2.0 * shortest / 3) {
        --tries;
    }
    return tries;
}

std::string identity(const std::string& given, const IpAddress& address) {
    return given.empty() ? address.text() : given;
}

std::string selectors(const std::vector<Prefix4>& v4, const std::vector<Prefix6>& v6) {
    std::vector<std::string> out;
    for (const Prefix4 prefix : v4) {
        out.push_back(to_string(prefix));
    }
    for (const Prefix6& prefix : v6) {
        out.push_back(to_string(prefix));
    }
    return out.empty() ? "0.0.0.0/0,::/0" : joined(out);
}

void open(Text& text, const std::string& name) {
    text.line(name, " {");
    text.in();
}
void close(Text& text) {
    text.out();
    text.line('}');
}

void write_auth(Text& text, const TunnelConfig& tunnel) {
    const IkeConfig& ike = *tunnel.ike;
    const bool psk = !ike.psk_file.empty();
    open(text, "local");
    text.line("auth = ", psk ? "psk" : "pubkey");
    if (!psk) {
        text.line("certs = ", tunnel.name, ".pem");
    }
    text.line("id = \"", identity(ike.local_id, tunnel.local), '"');
    close(text);
    open(text, "remote");
    text.line("auth = ", psk ? "psk" : "pubkey");
    if (!psk) {
        text.line("cacerts = ", tunnel.name, ".pem");
    }
    text.line("id = \"", identity(ike.remote_id, tunnel.remote), '"');
    close(text);
}

void write_child(Text& text, const TunnelConfig& tunnel) {
    const IkeConfig& ike = *tunnel.ike;
    const auto hard = [](std::uint64_t soft) { return soft + soft / 10; };
    open(text, "children");
    open(text, tunnel.name);
    text.line("mode = tunnel");
    text.line("local_ts = ", selectors(ike.local4, ike.local6));
    text.line("remote_ts = ", selectors(ike.remote4, ike.remote6));
    text.line("# Names the tunnel to the data plane, which takes the SA from the kernel by it.");
    text.line("if_id_in = ", tunnel.if_id);
    text.line("if_id_out = ", tunnel.if_id);
    text.line("# The kernel has the SAs and encrypts nothing: no policy leads a packet to them.");
    text.line("policies = no");
    text.line("esp_proposals = ", joined(ike.esp_proposals));
    text.line("replay_window = ", ike.replay_window);
    text.line("rekey_time = ", ike.rekey_time_s, 's');
    text.line("life_time = ", hard(ike.rekey_time_s), 's');
    text.line("rekey_bytes = ", ike.rekey_bytes);
    text.line("life_bytes = ", hard(ike.rekey_bytes));
    text.line("rekey_packets = ", ike.rekey_packets);
    text.line("life_packets = ", std::min(hard(ike.rekey_packets), kAllPackets));
    text.line("copy_df = ", tunnel.outer.df == DfRule::copy ? "yes" : "no");
    text.line("copy_ecn = ", tunnel.outer.ecn == EcnRule::normal ? "yes" : "no");
    text.line("copy_dscp = ", tunnel.outer.dscp == DscpRule::copy ? "out" : "no");
    text.line("start_action = ", ike.initiate ? "start" : "none");
    text.line("close_action = ", ike.initiate ? "start" : "none");
    text.line("dpd_action = ", ike.initiate ? "restart" : "clear");
    close(text);
    close(text);
}

void write_connection(Text& text, const Config& config, const TunnelConfig& tunnel) {
    const IkeConfig& ike = *tunnel.ike;
    const double given_up = seconds_until_given_up(retransmit_tries(config));
    const auto dpd_delay = std::max(3.0, std::floor(ike.dpd_s - given_up));
    const LegConfig& leg = config.legs[tunnel.leg];
    text.line("# ", tunnel.name, ": over ", to_string(leg.zone), " peering, leg ", leg.netdev, '.');
    open(text, tunnel.name);
    text.line("version = 2");
    text.line("local_addrs = ", tunnel.local.text());
    text.line("remote_addrs = ", tunnel.remote.text());
    text.line("proposals = ", joined(ike.proposals));
    text.line("# A new IKE SA some time before Azure's 28,800 s are over, without a new authentication.");
    text.line("rekey_time = 25200s");
    text.line("reauth_time = 0s");
    text.line("keyingtries = 0");
    text.line("# Asks after that silence; charon gives up ", static_cast<unsigned>(given_up), " s later.");
    text.line("dpd_delay = ", static_cast<unsigned>(dpd_delay), 's');
    text.line("mobike = no");
    text.line("fragmentation = yes");
    text.line("encap = ", ike.nat_t == NatTraversal::always ? "yes" : "no");
    write_auth(text, tunnel);
    write_child(text, tunnel);
    close(text);
}

std::string swanctl_conf(const Config& config) {
    Text text{4};
    text.line("# Written by twinspanctl render strongswan from the configuration of ", config.name,
              ". Do not edit: render again.");
    text.line("connections {");
    text.in();
    for (const TunnelConfig* tunnel : negotiated(config)) {
        write_connection(text, config, *tunnel);
    }
    close(text);
    text.line("include twinspan-secrets.conf");
    return text.str();
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t three = 0;
        const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
        for (std::size_t j = 0; j < 3; ++j) {
            three = three << 8 | (j < have ? static_cast<std::uint8_t>(bytes[i + j]) : 0u);
        }
        for (std::size_t j = 0; j < 4; ++j) {
            out += j <= have ? kDigits[three >> (18 - 6 * j) & 63] : '=';
        }
    }
    return out;
}

Result<void> add_secret(Text& text, const TunnelConfig& tunnel) {
    if (tunnel.ike->psk_file.empty()) {
        return {};
    }
    const auto psk = secret_line(tunnel.ike->psk_file, kLongestPsk);
    if (!psk) {
        return std::unexpected(psk.error());
    }
    open(text, "ike-" + tunnel.name);
    text.line("id-local = \"", identity(tunnel.ike->local_id, tunnel.local), '"');
    text.line("id-remote = \"", identity(tunnel.ike->remote_id, tunnel.remote), '"');
    text.line("secret = 0s", base64(*psk));
    close(text);
    return {};
}

// The names are the tunnels', so that two files of one name do not meet in swanctl's folders.
Result<void> add_certificates(Files& files, const TunnelConfig& tunnel) {
    if (tunnel.ike->certificate.empty()) {
        return {};
    }
    const std::string name = tunnel.name + ".pem";
    const struct {
        const char* folder;
        const std::filesystem::path& from;
        bool secret;
    } rows[] = {{"x509", tunnel.ike->certificate, false},
                {"x509ca", tunnel.ike->ca, false},
                {"private", tunnel.ike->key, true}};
    for (const auto& row : rows) {
        auto text = row.secret ? secret_text(row.from) : plain_text(row.from);
        if (!text) {
            return std::unexpected(text.error());
        }
        files.push_back({std::filesystem::path{row.folder} / name, std::move(*text), row.secret});
    }
    return {};
}

// The kernel must not route by what IKE negotiated, and charon speaks on the legs of tunnels only. Each tunnel's IKE
// takes the leg of its ESP: Microsoft peering may announce the gateway of a tunnel over the internet, and then the
// kernel would send from the internet's address into the circuit.
std::string charon_conf(const Config& config) {
    std::set<std::string> interfaces;
    for (const TunnelConfig* tunnel : negotiated(config)) {
        interfaces.insert(config.legs[tunnel->leg].netdev);
    }
    Text text{4};
    text.line("# Written by twinspanctl render strongswan: for /etc/strongswan.d. Do not edit: render again.");
    open(text, "charon");
    text.line("# Routes are BGP's and the operator's.");
    text.line("install_routes = no");
    text.line("# Keeps translations on the path open; each tunnel's ESP leaves through the same one.");
    text.line("keep_alive = 20s");
    text.line("install_virtual_ip = no");
    text.line("interfaces_use = ", joined(interfaces));
    text.line("# Unanswered requests are repeated for ",
              static_cast<unsigned>(seconds_until_given_up(retransmit_tries(config))),
              " s in all, so that a dead peer is noticed in time.");
    text.line("retransmit_timeout = 2.0");
    text.line("retransmit_base = 1.5");
    text.line("retransmit_tries = ", retransmit_tries(config));
    open(text, "plugins");
    open(text, "socket-default");
    text.line("# Over the interface that has local_addrs, whatever the best route is: the way of the tunnel's ESP.");
    text.line("set_sourceif = yes");
    close(text);
    close(text);
    close(text);
    return text.str();
}

}  // namespace

Result<Files> strongswan(const Config& config) {
    if (negotiated(config).empty()) {
        return std::unexpected(Error{"rendering for strongSwan: found no tunnel with 'ike', expected one"});
    }
    Text secrets{4};
    secrets.line("# Written by twinspanctl render strongswan.");
    secrets.line("secrets {");
    secrets.in();
    Files files{{"swanctl.conf", swanctl_conf(config), false}, {"twinspan.conf", charon_conf(config), false}};
    for (const TunnelConfig* tunnel : negotiated(config)) {
        auto done = add_secret(secrets, *tunnel);
        if (done) {
            done = add_certificates(files, *tunnel);
        }
        if (!done) {
            return std::unexpected(done.error());
        }
    }
    close(secrets);
    files.push_back({"twinspan-secrets.conf", secrets.str(), true});
    return files;
}

}  // namespace twinspan::render

// Bad BGP, IKE, fallback and shared ports: what exactly is said. Each row changes a good file in one place.
#include "tests/unit/control/config/refusal.hpp"

#include <gtest/gtest.h>

#include <string>

namespace twinspan {
namespace {

std::string good_text() { return vector_text("one-file.yaml"); }

struct Row {
    const char* name;
    const char* from;
    const char* to;
    const char* errors;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class RoutingRefusal : public testing::TestWithParam<Row> {};

TEST_P(RoutingRefusal, SaysWhatIsWrong) {
    const Row& row = GetParam();
    std::string text = good_text();
    ASSERT_EQ(errors_of(text), "");
    const std::size_t at = text.find(row.from);
    ASSERT_NE(at, std::string::npos) << row.from;
    text.replace(at, std::string{row.from}.size(), row.to);
    EXPECT_EQ(errors_of(text), row.errors);
}

const Row kRows[] = {
    {"azures_asn", "asn: 65010", "asn: 65517",
     "f:11:13: found ASN 65517, expected another: Azure uses 8074, 8075, 12076 and 65515 to 65520 itself"},
    {"documents_asn", "asn: 65010", "asn: 64500",
     "f:11:13: found ASN 64500, expected another: 64496 to 64511 are for documents (RFC 5398), and Azure refuses them"},
    {"reserved_asn", "asn: 65010", "asn: 23456",
     "f:11:13: found ASN 23456, expected another: it is reserved (RFC 6793, RFC 7300)"},
    {"no_asn", "asn: 65010", "router-id: 10.10.0.1",
     "f:11:6: found no key 'asn', expected an autonomous system number "
     "from 1 to 4294967294"},
    {"announces_what_is_behind_a_tunnel", "10.10.0.0/16, ", "10.20.1.0/24, ",
     "f:11:31: found 10.20.1.0/24, expected a prefix of this side: 10.20.0.0/16 is behind a tunnel (encrypt, line 65)"},
    {"announces_twice", "10.10.0.0/16, ", "10.10.0.0/16, 10.10.0.0/16, ",
     "f:11:45: found 10.10.0.0/16 again, expected it once (first at line 11)"},
    {"bgp_on_lan", "  lan:\n    legs:", "  lan:\n    bgp: { bfd: false }\n    legs:",
     "f:14:10: found 'bgp' on peering lan, expected it on private, public or microsoft of role on-premises: there it "
     "is the circuit's routers that speak it"},
    {"short_bfd", "bfd-interval: 750ms", "bfd-interval: 150ms",
     "f:21:121: found '150ms', expected a time from 300ms to 60s: Microsoft's routers send every 300 ms, and take no "
     "shorter one"},
    {"bfd_values_without_bfd", "bfd-interval: 750ms", "bfd: false, bfd-interval: 750ms",
     "f:21:133: found 'bfd-interval' with 'bfd: false', expected it with BFD only"},
    {"short_hold", "keepalive: 60s, hold: 180s", "keepalive: 60s, hold: 120s",
     "f:24:34: found hold 120s with keepalive 60s, expected at least three times as long"},
    {"hold_below_azures", "keepalive: 60s, hold: 180s", "keepalive: 3s, hold: 9s",
     "f:24:33: found '9s', expected a time of 10s or more: Azure takes no shorter one"},
    {"keepalive_below_azures", "keepalive: 60s, hold", "keepalive: 2s, hold",
     "f:24:23: found '2s', expected a time of 3s or more: Azure takes no shorter one"},
    {"keepalive_beyond_default_hold", "keepalive: 60s, hold: 180s", "keepalive: 11s",
     "f:24:23: found hold 30s with keepalive 11s, expected at least three times as long"},
    {"max_prefixes_on_private", "bgp: { local-preference: 150", "bgp: { max-prefixes: 4001",
     "f:20:109: found 4001, expected at most 4000: with more Azure drops the session of peering private"},
    {"max_prefixes_on_microsoft", "bgp: { communities: [\"12076:51026\"",
     "bgp: { max-prefixes: 201, communities: "
     "[\"12076:51026\"",
     "f:31:26: found 201, expected at most 200: with more Azure drops the session of peering microsoft"},
    {"max_prefixes_below_the_pool", "bgp: { communities: [\"12076:51026\"",
     "bgp: { max-prefixes: 2, communities: [\"12076:51026\"",
     "f:33:9: found 3 IPv4 and 0 IPv6 prefixes to announce, expected at most 2 and 200 on peering microsoft\n"
     "f:34:9: found 3 IPv4 and 0 IPv6 prefixes to announce, expected at most 2 and 200 on peering microsoft"},
    {"community", "\"12076:50026\"", "\"12076\"",
     "f:18:51: found '12076', expected a BGP community, like \"12076:51026\""},
    {"prepend_of_a_private_asn", "bgp: { communities: [\"12076:51026\"",
     "bgp: { prepend: 1, communities: "
     "[\"12076:51026\"",
     "f:31:21: found prepend with the private ASN 65010, expected none: Microsoft takes private ASNs out of the path "
     "on this peering"},
    {"announce_on_microsoft", "bgp: { communities: [\"12076:51026\"",
     "bgp: { announce: [10.0.0.0/8], communities: [\"12076:51026\"",
     "f:31:22: found 'announce' on peering microsoft, expected none: there it is the pool that is announced"},
    {"peer_outside", "bgp: { local-preference: 150", "bgp: { peer: 172.16.0.6",
     "f:20:101: found peer 172.16.0.6, expected a neighbour in the subnet of the leg"},
    {"peer_of_our_own_asn", "bgp: { local-preference: 150", "bgp: { peer-asn: 65010",
     "f:20:105: found peer-asn 65010, expected another than our own: the session is external BGP"},
    {"fallback_of_lan", "  lan:\n    legs:", "  lan:\n    fallback: internet\n    legs:",
     "f:14:15: found a fallback of peering lan, expected one on private, public or microsoft"},
    {"fallback_over_the_circuit", "fallback: [inet-0]", "fallback: [azure-0]",
     "f:17:16: found 'azure-0' over peering microsoft, expected a tunnel over internet: it must live when the circuit "
     "does not"},
    {"fallback_unknown", "fallback: [inet-0]", "fallback: [inet-9]",
     "f:17:16: found 'inet-9', expected the name of a tunnel (azure-0, azure-1, inet-0)"},
    {"fallback_twice", "fallback: [inet-0]", "fallback: [inet-0, inet-0]",
     "f:17:24: found 'inet-0' again, expected each tunnel once"},
    {"fallback_of_private_in_clear", "fallback: [inet-0]", "fallback: internet",
     "f:17:15: found 'internet', expected a list of tunnel names"},
    {"fallback_without_a_pool", "    nat: { pool: [192.0.2.200] }\n", "",
     "f:23:15: found fallback 'internet', expected a pool on peering internet ('nat'): the circuit's pool must not be "
     "seen on the internet\n"
     "f:30:15: found fallback 'internet', expected a pool on peering internet ('nat'): the circuit's pool must not be "
     "seen on the internet"},
    {"neither_ike_nor_sa_file", "    ike: { psk-file: azure.psk }\n", "",
     "f:43:5: found no key 'sa-file', expected the path of a file with the tunnel's keys, or 'ike'"},
    {"psk_and_certificate", "{ psk-file: azure.psk }", "{ psk-file: azure.psk, certificate: c.pem }",
     "f:48:46: found 'certificate' with 'psk-file', expected a pre-shared key or certificates"},
    {"no_credentials", "{ psk-file: azure.psk }", "{ dpd: 45s }",
     "f:48:10: found no key 'psk-file', expected the path of a file with the pre-shared key, or 'certificate', 'key' "
     "and 'ca'"},
    {"certificate_without_key", "key: nva.key, ", "",
     "f:64:10: found no key 'key', expected the path of a file with the private key of our certificate"},
    {"identity_with_quotes", "local-id: nva.example.com", "local-id: 'a\"b'",
     "f:64:73: found 'a\"b', expected an identity without quotes, like gw.example.com or 203.0.113.1"},
    {"broken_cipher", "{ psk-file: azure.psk }", "{ psk-file: azure.psk, esp-proposals: [3des-sha1] }",
     "f:48:49: found '3des-sha1', expected a proposal that protects: 3DES is broken: use aes-256-gcm or "
     "aes-256-cbc-hmac-sha256"},
    {"proposal_with_a_brace", "{ psk-file: azure.psk }", "{ psk-file: azure.psk, proposals: [\"aes256}\"] }",
     "f:48:45: found 'aes256}', expected a proposal in strongSwan's notation, like aes256gcm16-ecp384"},
    {"dpd", "{ psk-file: azure.psk }", "{ psk-file: azure.psk, dpd: 5s }",
     "f:48:38: found '5s', expected a time from 9s to 3600s, like 45s"},
    {"rekey_packets", "{ psk-file: azure.psk }", "{ psk-file: azure.psk, rekey-packets: 4294967296 }",
     "f:48:48: found '4294967296', expected a whole number from 1000 to 4000000000"},
    {"tunnel_bgp_without_address", "    address: 169.254.21.1/30\n", "",
     "f:43:5: found bgp in tunnel azure-0, expected 'address' too: BGP speaks from the tunnel's own address"},
    {"tunnel_bgp_with_itself", "peer: 169.254.21.2", "peer: 169.254.21.1",
     "f:43:5: found bgp in tunnel azure-0 with peer 169.254.21.1, expected an address that is reached through the "
     "tunnel"},
    {"link_local_that_azure_refuses", "peer: 169.254.21.2", "peer: 169.254.30.2",
     "f:43:5: found bgp in tunnel azure-0 between 169.254.21.1 and 169.254.30.2, expected link-local addresses from "
     "169.254.21.0 to 169.254.22.255: Azure's gateway takes no others"},
    {"timers_towards_azure", "peer: 169.254.21.2", "peer: 169.254.21.2, keepalive: 10s",
     "f:49:43: found 'keepalive', expected none towards ASN 65515: Azure's gateway has 60 s and 180 s fixed, and "
     "sessions with shorter ones flap"},
    {"tunnel_max_prefixes", "peer: 169.254.21.2", "peer: 169.254.21.2, max-prefixes: 4001",
     "f:49:46: found 4001, expected at most 4000: with more Azure drops the session of a tunnel"},
    {"tunnel_address_of_a_leg", "address: 169.254.21.1/30", "address: 172.16.0.2/30",
     "f:47:14: found 172.16.0.2/30, expected a subnet apart from 172.16.0.1/30 of a leg (line 20)"},
    {"tunnel_address_twice", "address: 10.10.250.1/32", "address: 169.254.21.1/32",
     "f:55:14: found 169.254.21.1/32, expected another address than that of line 47"},
    {"tunnel_address_without_netdev", "    mtu: 1400\n    address: 169",
     "    mtu: 1400\n    netdev: false\n    address: 169",
     "f:48:14: found 169.254.21.1/30, expected none with 'netdev: false': there is no interface that could have it"},
    {"shared_and_device", "{ device: \"0000:17:00.1\" }", "{ device: \"0000:17:00.1\", shared: eth0 }",
     "f:7:48: found both 'shared' and 'device', expected one of them: the NIC is Linux's or DPDK's"},
    {"sku", "bandwidth: 1Gbps,", "bandwidth: 1Gbps, sku: Premium,",
     "f:10:47: found 'Premium', expected standard or premium"},
};
INSTANTIATE_TEST_SUITE_P(Rows, RoutingRefusal, testing::ValuesIn(kRows),
                         [](const auto& param) { return param.param.name; });

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
    }
    return text;
}

TEST(RoutingRefusalOfWholeFiles, KeysAreNegotiatedOrStatic) {
    const std::string text =
        replaced(good_text(), "    ike: { psk-file: azure.psk }\n", "    sa-file: s\n    ike: { psk-file: p }\n");
    EXPECT_EQ(errors_of(text),
              "f:49:10: found both 'ike' and 'sa-file', expected one of them: keys are negotiated or static");
}

TEST(RoutingRefusalOfWholeFiles, SessionsNeedAnAsn) {
    std::string text = good_text();
    const std::size_t at = text.find("bgp: { asn");
    text.erase(at, text.find('\n', at) - at);
    const std::string errors = errors_of(text);
    for (const char* where : {"peering private", "leg prv-pri", "leg prv-sec", "peering public", "peering microsoft"}) {
        EXPECT_NE(errors.find(std::string{"found bgp of "} + where +
                              ", expected a section 'bgp' at the top level with our ASN"),
                  std::string::npos)
            << errors;
    }
    EXPECT_NE(errors.find("f:49:10: found bgp of a tunnel, expected a section 'bgp'"), std::string::npos) << errors;
}

TEST(RoutingRefusalOfWholeFiles, FallbackOfMicrosoftMayNameTunnelsBesideTheInternet) {
    const std::string text = replaced(good_text(), "fallback: internet", "fallback: [internet, inet-0]");
    const auto config = parse_config(text, "f");
    ASSERT_TRUE(config) << errors_of(text);
    EXPECT_TRUE(config->fallback.at(1).internet);
    EXPECT_EQ(config->fallback.at(1).tunnels, std::vector<std::size_t>{2});
    EXPECT_NE(
        errors_of(replaced(text, "[internet, inet-0]", "[internet, azure-0]")).find("expected a tunnel over internet"),
        std::string::npos);
}

TEST(RoutingRefusalOfWholeFiles, FallbackToAnInternetThatIsNotThere) {
    std::string text = good_text();
    const std::size_t internet = text.find("  internet:\n");
    text.erase(internet, text.find("tunnels:") - internet);
    EXPECT_NE(errors_of(text).find("found fallback 'internet', expected a peering internet with a leg"),
              std::string::npos)
        << errors_of(text);
}

TEST(RoutingRefusalOfWholeFiles, AnUntaggedLegOfASharedPortHasLinuxsInterface) {
    const std::string text = replaced(good_text(), "device: \"0000:17:00.1\"", "shared: eth0");
    const auto config = parse_config(text, "f");
    ASSERT_TRUE(config) << errors_of(text);
    EXPECT_EQ(config->legs.back().netdev, "eth0");
    EXPECT_EQ(errors_of(replaced(text, "{ port: wan,", "{ port: wan, netdev: w,")),
              "f:39:30: found 'netdev' on an untagged leg of a shared port, expected none: its interface is Linux's "
              "own, 'eth0'");
    EXPECT_EQ(errors_of(replaced(text, "{ port: wan,", "{ port: wan, vlan: 5, netdev: w,")), "");
}

TEST(RoutingRefusalOfWholeFiles, PremiumTakesMorePrefixesOnPrivatePeering) {
    const std::string more = replaced(good_text(), "bgp: { local-preference: 150", "bgp: { max-prefixes: 10000");
    EXPECT_NE(errors_of(more).find("found 10000, expected at most 4000"), std::string::npos);
    EXPECT_EQ(errors_of(replaced(more, "bandwidth: 1Gbps,", "bandwidth: 1Gbps, sku: premium,")), "");
    EXPECT_NE(errors_of(replaced(replaced(more, "10000", "10001"), "1Gbps,", "1Gbps, sku: premium,"))
                  .find("found 10001, expected at most 10000"),
              std::string::npos);
}

TEST(RoutingRefusalOfWholeFiles, NoCircuitNoSessionsOverLegs) {
    const std::string text =
        "version: 1\nrole: azure\nports: { a: { device: x } }\nbgp: { asn: 65010 }\n"
        "peerings: { private: { bgp: { bfd: false }, legs: [ { port: a, addresses: [10.0.0.1/24] } ] } }\n";
    EXPECT_EQ(errors_of(text),
              "f:5:29: found 'bgp' on peering private, expected it on private, public or microsoft of role "
              "on-premises: there it is the circuit's routers that speak it");
}

}  // namespace
}  // namespace twinspan

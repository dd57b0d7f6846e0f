// Bad files: what exactly is said, and where. Each row changes the text of a good file in one place.
#include "tests/unit/control/config/refusal.hpp"

#include <gtest/gtest.h>

#include <string>

namespace twinspan {
namespace {

struct Row {
    const char* name;
    const char* file;
    const char* from;
    const char* to;
    const char* errors;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class Refusal : public testing::TestWithParam<Row> {};

TEST_P(Refusal, SaysWhatIsWrong) {
    const Row& row = GetParam();
    std::string text = vector_text(row.file);
    const std::size_t at = text.find(row.from);
    ASSERT_NE(at, std::string::npos) << row.from;
    text.replace(at, std::string{row.from}.size(), row.to);
    EXPECT_EQ(errors_of(text), row.errors);
}

constexpr const char* kNva = "nva.yaml";
constexpr const char* kAzure = "azgw.yaml";

const Row kRows[] = {
    {"unknown_key", kNva, "peerings:", "peering:",
     "f:1:1: found no key 'peerings', expected a mapping with the keys lan, private, public, microsoft, internet\n"
     "f:11:1: found unknown key 'peering', expected one of version, name, role, dpdk, workers, limits, ports, circuit, "
     "bgp, "
     "peerings, "
     "tunnels, encrypt, nat-log, state-dir; did you mean 'peerings'?"},
    {"unknown_inner_key", kNva, "memory:", "memry:",
     "f:4:27: found unknown key 'memry', expected one of hugepages, memory, buffers, args; did you mean 'memory'?"},
    {"far_key", kNva,
     "memory:", "quux:", "f:4:27: found unknown key 'quux', expected one of hugepages, memory, buffers, args"},
    {"duplicate_key", kNva, "name: nva", "name: nva\nname: nvb",
     "f:3:1: found key 'name' again, expected it once (first at line 2)"},
    {"duplicate_port", kNva, "  secondary: { device", "  primary: { device: x }\n  secondary: { device",
     "f:9:3: found key 'primary' again, expected it once (first at line 8)"},
    {"version", kNva, "version: 1", "version: 2", "f:1:10: found '2', expected 1"},
    {"role", kNva, "role: on-premises", "role: onprem", "f:3:7: found 'onprem', expected on-premises or azure"},
    {"unit", kNva, "1024MiB", "1024MB",
     "f:4:35: found '1024MB', expected a size of 64MiB or more, like 1024MiB or 2GiB"},
    {"boolean", kNva, "hugepages: false", "hugepages: no", "f:4:20: found 'no', expected true or false"},
    {"bandwidth", kNva, "10Gbps", "10G", "f:10:42: found '10G', expected a bandwidth like 50Mbps or 10Gbps"},
    {"list_for_word", kNva, "name: nva", "name: [nva]",
     "f:2:7: found a list, expected a name of at most 32 letters, digits and - _ ."},
    {"word_for_list", kNva, "[172.16.0.1/30]", "172.16.0.1/30",
     "f:17:50: found '172.16.0.1/30', expected a list of addresses"},
    {"nothing_for_map", kNva, "workers: { count: 1, idle: sleep }",
     "workers:", "f:5:1: found nothing behind key 'workers', expected a value"},
    {"nothing_for_required", kNva, "version: 1",
     "version:", "f:1:1: found nothing behind key 'version', expected a value"},
    {"cpus", kNva, "idle: sleep", "cpus: [1, 2]", "f:5:28: found 2 CPUs, expected one for each of 1 workers"},
    {"circuit_port", kNva, "primary: primary,", "primary: primry,",
     "f:10:59: found 'primry', expected the name of a port (lan, primary, secondary); did you mean 'primary'?"},
    {"leg_port", kNva, "port: lan,", "port: lann,",
     "f:14:17: found 'lann', expected the name of a port (lan, primary, secondary); did you mean 'lan'?"},
    {"leg_on_no_port", kNva, "{ port: lan, addresses", "{ addresses",
     "f:14:9: found no key 'port', expected the port of the leg"},
    {"leg_on_no_link", kNva, "{ link: primary,   vlan: 100,", "{ vlan: 100,",
     "f:17:9: found no key 'link', expected the link of the leg: primary or secondary"},
    {"port_on_circuit", kNva, "{ link: primary,   vlan: 100", "{ port: primary, vlan: 100",
     "f:17:17: found 'port' on a leg of peering private, expected 'link': with role on-premises this peering is on the "
     "circuit"},
    {"link_off_circuit", kNva, "port: lan,", "link: primary,",
     "f:14:17: found 'link' on a leg of peering lan, expected 'port': this leg is not on a circuit"},
    {"same_vlan", kNva, "link: primary,   vlan: 200", "link: primary,   vlan: 100",
     "f:21:9: found VLAN 100 on port 'primary' again, expected another VLAN than that of line 17"},
    {"vlan_range", kNva, "vlan: 200", "vlan: 4095",
     "f:21:34: found '4095', expected a VLAN from 1 to 4094, or a mapping with the keys outer, inner, ethertype"},
    {"microsofts_address", kNva, "203.0.113.1/30", "203.0.113.2/30",
     "f:26:51: found 203.0.113.2/30, expected 203.0.113.1/30: ours is the first usable address of the /30, the second "
     "is Microsoft's\n"
     "f:31:46: found 203.0.113.1, expected an address of one of our legs (172.16.0.1, 192.0.2.1, 203.0.113.2)"},
    {"not_a_30", kNva, "172.16.0.1/30", "172.16.0.1/29",
     "f:17:51: found 172.16.0.1/29, expected a /30: each link of a circuit has its own (Azure splits a /29 in two)\n"
     "f:18:51: found 172.16.0.5/30, expected a subnet apart from 172.16.0.1/29 of another leg (line 17)"},
    {"ipv6_not_a_126", kNva, "[172.16.0.1/30]", "[172.16.0.1/30, \"2001:db8::1/127\"]",
     "f:17:66: found 2001:db8::1/127, expected a /126: each link of a circuit has its own (Azure splits a /125 in "
     "two)"},
    {"ipv6_second", kNva, "[172.16.0.1/30]", "[172.16.0.1/30, \"2001:db8::2/126\"]",
     "f:17:66: found 2001:db8::2/126, expected 2001:db8::1/126: ours is the first usable address of the /126, the "
     "second is Microsoft's"},
    {"ipv6_on_public", kNva, "[192.0.2.1/30]", "[\"2001:db8::1/126\"]",
     "f:21:51: found 2001:db8::1/126, expected IPv4 only: public peering has no IPv6"},
    {"address_without_length", kNva, "172.16.0.1/30", "172.16.0.1",
     "f:17:51: found '172.16.0.1', expected an address with its prefix length, like 203.0.113.1/30 or "
     "\"2001:db8::1/126\""},
    {"duplicate_address", kNva, "192.0.2.5/30", "192.0.2.1/30",
     "f:22:51: found 192.0.2.1/30 again, expected another address than that of line 21"},
    {"private_leg_on_public", kNva, "192.0.2.1/30", "192.168.2.1/30",
     "f:21:51: found the private address 192.168.2.1/30, expected a public one: peering public carries public "
     "addresses only (RFC 1918, 6598, 3927)"},
    {"network_address", kNva, "10.10.0.1/24", "10.10.0.0/24",
     "f:14:34: found 10.10.0.0/24, expected an address that a host may have"},
    {"overlapping_pools", kNva, "198.51.100.16/30", "198.51.100.8/29",
     "f:28:19: found pool addresses 198.51.100.0-198.51.100.15, expected none of 198.51.100.8-198.51.100.15, which the "
     "pool of public "
     "has (line 23)"},
    {"pools_share_the_last_address", kNva, "198.51.100.16/30", "198.51.100.15-198.51.100.20",
     "f:28:19: found pool addresses 198.51.100.0-198.51.100.15, expected none of 198.51.100.15-198.51.100.20, which "
     "the pool of public "
     "has (line 23)"},
    {"pools_share_the_first_address", kNva, "198.51.100.16/30", "198.51.99.250-198.51.100.0",
     "f:28:19: found pool addresses 198.51.100.0-198.51.100.15, expected none of 198.51.99.250-198.51.100.0, which the "
     "pool of public "
     "has (line 23)"},
    {"private_pool", kNva, "198.51.100.16/30", "10.0.0.0/30",
     "f:23:19: found private addresses 10.0.0.0-10.0.0.3, expected public ones: peering public carries public "
     "addresses only (RFC 1918, 6598, 3927)"},
    {"shared_pool", kNva, "198.51.100.16/30", "100.64.0.0/30",
     "f:23:19: found private addresses 100.64.0.0-100.64.0.3, expected public ones: peering public carries public "
     "addresses only (RFC 1918, 6598, 3927)"},
    {"accept_unique_local", kNva, "13.107.6.0/24", "\"fd00::/64\"",
     "f:29:14: found fd00::/64, expected public prefixes: peering microsoft carries no private addresses and no "
     "default route"},
    {"water_without_unit", kNva, "pool: [198.51.100.0/28] }", "pool: [198.51.100.0/28], high-water: 80 }",
     "f:28:49: found '80', expected a share from 1% to 100%"},
    {"water_range", kNva, "pool: [198.51.100.0/28] }", "pool: [198.51.100.0/28], high-water: 101% }",
     "f:28:49: found '101%', expected a share from 1% to 100%"},
    {"low_above_high_water", kNva, "pool: [198.51.100.0/28] }", "pool: [198.51.100.0/28], low-water: 80% }",
     "f:28:48: found low-water 80%, expected less than high-water 80%"},
    {"high_below_low_water", kNva, "pool: [198.51.100.0/28] }", "pool: [198.51.100.0/28], high-water: 50% }",
     "f:28:10: found low-water 60%, expected less than high-water 50%"},
    {"pool_on_private", kNva, "  public:\n", "    nat: { pool: [198.51.100.32/30] }\n  public:\n",
     "f:19:10: found a pool on peering private, expected one on public, microsoft or internet only: private addresses "
     "are never translated"},
    {"pool_with_leg_address", kNva, "198.51.100.16/30", "203.0.113.0-203.0.113.3",
     "f:23:19: found pool addresses 203.0.113.0-203.0.113.3, expected them without 203.0.113.1, which a leg has (line "
     "26)"},
    {"pool_protocols", kNva, "pool: [198.51.100.16/30]", "pool: [198.51.100.16/30], protocols: all",
     "f:23:49: found 'all', expected any, or tcp-udp-icmp"},
    {"static_on_public", kNva, "pool: [198.51.100.16/30]",
     "pool: [198.51.100.16/30], static: [ { outside: 198.51.100.16, inside: 10.10.0.7 } ]",
     "f:23:46: found static on peering public, expected it on microsoft only: nobody begins sessions from public"},
    {"from_microsoft_on_public", kNva, "pool: [198.51.100.16/30]",
     "pool: [198.51.100.16/30], from-microsoft: [10.9.0.1]",
     "f:23:54: found from-microsoft on peering public, expected it on microsoft only: nobody begins sessions from "
     "public"},
    {"static_outside_the_pool", kNva, "pool: [198.51.100.0/28]",
     "pool: [198.51.100.0/28], static: [ { outside: 198.51.100.16, inside: 10.10.0.7 } ]",
     "f:28:47: found outside address 198.51.100.16, expected one of the peering's pool"},
    {"static_of_half_a_port", kNva, "pool: [198.51.100.0/28]",
     "pool: [198.51.100.0/28], static: [ { outside: 198.51.100.1, inside: 10.10.0.7, port: 7 } ]",
     "f:28:47: found half a port mapping, expected protocol and port, or neither: then all of the host is mapped"},
    {"static_twice_outside", kNva, "pool: [198.51.100.0/28]",
     "pool: [198.51.100.0/28], static: [ { outside: 198.51.100.1, inside: 10.10.0.7 }, { outside: 198.51.100.1, "
     "inside: "
     "10.10.0.8, protocol: tcp, port: 7 } ]",
     "f:28:93: found the outside end of another static mapping, expected it once (line 28)"},
    {"static_twice_inside", kNva, "pool: [198.51.100.0/28]",
     "pool: [198.51.100.0/28], static: [ { outside: 198.51.100.1, inside: 10.10.0.7 }, { outside: 198.51.100.2, "
     "inside: "
     "10.10.0.7 } ]",
     "f:28:93: found the inside end of another static mapping, expected it once (line 28)"},
    {"static_for_ourselves", kNva, "pool: [198.51.100.0/28]",
     "pool: [198.51.100.0/28], static: [ { outside: 198.51.100.1, inside: 10.10.0.1 } ]",
     "f:28:47: found inside address 10.10.0.1, expected that of a host, not ours"},
    {"from_microsoft_in_a_pool", kNva, "pool: [198.51.100.0/28]",
     "pool: [198.51.100.0/28], from-microsoft: [198.51.100.8/29]",
     "f:28:54: found addresses 198.51.100.8-198.51.100.15, expected none of 198.51.100.0-198.51.100.15, which a pool "
     "has "
     "(line 28)"},
    {"from_microsoft_with_a_pool_for_each_link", kNva, "pool: [198.51.100.0/28]",
     "pool: { primary: [198.51.100.0/29], secondary: [198.51.100.8/29] }, from-microsoft: [10.9.0.1]",
     "f:28:96: found from-microsoft with a pool for each link, expected one pool for both: replies to these addresses "
     "name no link"},
    {"from_microsoft_of_nothing", kNva, "pool: [198.51.100.0/28]", "pool: [198.51.100.0/28], from-microsoft: []",
     "f:28:53: found a list, expected at least one address"},
    {"pool_host_bits", kNva, "198.51.100.16/30", "198.51.100.17/30",
     "f:23:19: found '198.51.100.17/30', expected IPv4 addresses like 198.51.100.0/28, 198.51.100.7 or "
     "198.51.100.2-198.51.100.9"},
    {"nat_mode", kNva, "pool: [198.51.100.16/30]", "pool: [198.51.100.16/30], mode: symmetric",
     "f:23:44: found 'symmetric', expected endpoint-dependent or endpoint-independent"},
    {"reserved_elsewhere", kNva, "pool: [198.51.100.16/30]",
     "pool: [198.51.100.16/30], ports: 2000-2999, reserved: [1999, 2000]",
     "f:23:67: found '1999', expected ports of the pool's 2000-2999"},
    {"all_reserved", kNva, "pool: [198.51.100.16/30]",
     "pool: [198.51.100.16/30], ports: 2000-2999, reserved: [2500-4000, 1-2499]",
     "f:23:66: found all of the pool's 2000-2999 reserved, expected some to give"},
    {"no_host_limit", kNva, "pool: [198.51.100.16/30]", "pool: [198.51.100.16/30], host-limit: 0",
     "f:23:50: found '0', expected a whole number from 1 to 67108864"},
    {"block_larger_than_the_pool", kNva, "pool: [198.51.100.16/30]",
     "pool: [198.51.100.16/30], ports: 2000-2099, port-blocks: { size: 101 }",
     "f:23:77: found '101', expected a whole number from 8 to 100"},
    {"block_in_a_tiny_pool", kNva, "pool: [198.51.100.16/30]",
     "pool: [198.51.100.16/30], ports: 2000-2006, port-blocks: { size: 4 }",
     "f:23:69: found blocks of ports in a pool of 7, expected at least 8 ports"},
    {"blocks_without_size", kNva, "pool: [198.51.100.16/30]", "pool: [198.51.100.16/30], port-blocks: { per-host: 2 }",
     "f:23:51: found no key 'size', expected a whole number from 8 to 64512"},
    {"link_pools_on_the_internet", "one-file.yaml", "pool: [192.0.2.200]",
     "pool: { primary: [192.0.2.200], secondary: [192.0.2.201] }",
     "f:40:18: found a pool for each link on peering internet, expected one list of addresses: its legs have no link"},
    {"one_link_without_a_pool", kNva, "pool: [198.51.100.16/30]", "pool: { primary: [198.51.100.16/30] }",
     "f:23:18: found no key 'secondary', expected the public addresses of that link's pool"},
    {"link_pools_that_overlap", kNva, "pool: [198.51.100.16/30]",
     "pool: { primary: [198.51.100.16/30], secondary: [198.51.100.19] }",
     "f:23:61: found pool addresses 198.51.100.19, expected none of 198.51.100.16-198.51.100.19, which the pool of "
     "public has (line 23)"},
    {"accept_default", kNva, "13.107.6.0/24", "0.0.0.0/0",
     "f:29:14: found 0.0.0.0/0, expected public prefixes: peering microsoft carries no private addresses and no "
     "default route"},
    {"tunnel_local", kNva, "local: 203.0.113.1", "local: 203.0.113.9",
     "f:31:46: found 203.0.113.9, expected an address of one of our legs (172.16.0.1, 192.0.2.1, 203.0.113.1)"},
    {"tunnel_link", kNva, "if-id: 1, link: primary", "if-id: 1, link: secondary",
     "f:31:48: found 203.0.113.1 of leg msft-pri, expected an address on the secondary link (172.16.0.5, 192.0.2.5, "
     "203.0.113.5)"},
    {"tunnel_versions", kNva, "remote: 20.51.0.4", "remote: \"2603:1000::4\"",
     "f:31:67: found remote 2603:1000::4, expected an IPv4 address like 'local' 203.0.113.1: both ends of a tunnel are "
     "of one version"},
    {"dscp", kNva, "mtu: 1500", "dscp: AF44",
     "f:31:84: found 'AF44', expected copy, microsoft, a class like EF or AF41, or a number from 0 to 63"},
    {"dscp_number", kNva, "mtu: 1500", "dscp: 64",
     "f:31:84: found '64', expected copy, microsoft, a class like EF or AF41, or a number from 0 to 63"},
    {"ecn", kNva, "mtu: 1500", "ecn: set", "f:31:83: found 'set', expected copy or clear"},
    {"df", kNva, "mtu: 1500", "df: off", "f:31:82: found 'off', expected set, clear or copy"},
    {"ttl", kNva, "mtu: 1500", "ttl: 256", "f:31:83: found '256', expected a number from 1 to 255, or copy"},
    {"flow_label_over_ipv4", kNva, "mtu: 1500", "flow-label: hash",
     "f:31:90: found flow-label in a tunnel over IPv4, expected it over IPv6 only"},
    {"decrypt", kNva, "mtu: 1500", "decrypt: all", "f:31:87: found 'all', expected one or spread"},
    {"peer_window", kNva, "mtu: 1500", "peer-window: 65537",
     "f:31:91: found '65537', expected a whole number from 0 to 65536"},
    {"lifetime_key", kNva, "mtu: 1500", "lifetime: { tme: 1h }",
     "f:31:90: found unknown key 'tme', expected one of bytes, packets, time; did you mean 'time'?"},
    {"lifetime_bytes", kNva, "mtu: 1500", "lifetime: { bytes: 100 }",
     "f:31:97: found '100', expected a size like 102400000KB or 100GB"},
    {"peer_window_slip", kNva, "mtu: 1500", "peer-windw: 64",
     "f:31:78: found unknown key 'peer-windw', expected one of if-id, link, local, remote, mtu, sa-file, netdev, "
     "address, ike, bgp, dscp, ecn, df, ttl, flow-label, peer-window, decrypt, lifetime; did you mean 'peer-window'?"},
    {"if_id", kNva, "if-id: 2", "if-id: 1", "f:32:21: found if-id 1 again, expected another than that of line 31"},
    {"encrypt_remote", kNva, "10.20.0.0/16,", "20.51.0.4/31,",
     "f:31:67: found remote 20.51.0.4, expected it outside of 20.51.0.4/31 under encrypt (line 33): a tunnel's own "
     "packets are not encrypted again\n"
     "f:32:69: found remote 20.51.0.5, expected it outside of 20.51.0.4/31 under encrypt (line 33): a tunnel's own "
     "packets are not encrypted again"},
    {"remote_not_accepted", kNva, "20.51.0.0/29]", "20.52.0.0/29]",
     "f:31:67: found remote 20.51.0.4, expected an address under 'accept' of peering microsoft\n"
     "f:32:69: found remote 20.51.0.5, expected an address under 'accept' of peering microsoft"},
    {"missing_sa_file", kNva, ", sa-file: azure-1.sa.yaml", "",
     "f:32:12: found no key 'sa-file', expected the path of a file with the tunnel's keys, or 'ike'"},
    {"same_sa_file", kNva, "azure-1.sa.yaml", "azure-0.sa.yaml",
     "f:32:100: found sa-file 'azure-0.sa.yaml' again, expected keys of its own, not those of line 31"},
    {"tunnel_mtu", kNva, "mtu: 1500", "mtu: 1600",
     "f:31:83: found MTU 1600, expected at most the 1500 of leg msft-pri"},
    {"long_netdev", kNva, "port: lan,", "port: lan, netdev: sixteen-letters0,",
     "f:14:30: found 'sixteen-letters0', expected a netdev name of at most 15 letters, digits and - _ ."},
    {"same_netdev", kNva,
     "azure-1:", "msft-pri:", "f:32:3: found netdev name 'msft-pri' again, expected another than that of line 26"},
    {"long_tunnel_name", kNva, "azure-1:", "sixteen-letters0:",
     "f:32:3: found 'sixteen-letters0', expected a tunnel name of at most 15 letters, digits and - _ ."},
    {"encrypt_host_bits", kNva, "10.20.0.0/16", "10.20.0.1/16",
     "f:33:11: found '10.20.0.1/16', expected a prefix without host bits, like 10.20.0.0/16 or \"fd10:20::/64\""},
    {"relative_state_dir", kNva, "/var/lib/twinspan/nva", "state", "f:34:12: found 'state', expected an absolute path"},
    {"azure_circuit", kAzure,
     "peerings:", "circuit: { name: c, bandwidth: 1Gbps, primary: wan, secondary: vnet }\npeerings:",
     "f:9:10: found a circuit with role azure, expected it with role on-premises only"},
    {"azure_link", kAzure, "port: wan,", "link: primary,",
     "f:12:17: found 'link' on a leg of peering internet, expected 'port': this leg is not on a circuit"},
    {"broken_yaml", kNva, "{ count: 1, idle: sleep }", "{ count: 1, idle: sleep",
     "f:6:6: found broken YAML (end of map flow not found), expected a well-formed document"},
};
INSTANTIATE_TEST_SUITE_P(Rows, Refusal, testing::ValuesIn(kRows), [](const auto& param) { return param.param.name; });

TEST(RefusalOfWholeFiles, LinkNeedsACircuit) {
    std::string text = vector_text(kNva);
    const std::size_t at = text.find("circuit:");
    text.erase(at, text.find('\n', at) - at);
    const std::string errors = errors_of(text);
    EXPECT_EQ(errors.substr(0, errors.find('\n')),
              "f:17:17: found link 'primary', expected a circuit section that names its port");
}

TEST(RefusalOfWholeFiles, EmptyAndShapeless) {
    EXPECT_EQ(errors_of(""), "f:1:1: found nothing, expected a mapping with the keys of the configuration");
    EXPECT_EQ(errors_of("- 1\n"),
              "f:1:1: found a list, expected a mapping with the keys version, name, role, dpdk, workers, limits, "
              "ports, circuit, bgp, peerings, tunnels, encrypt, nat-log, state-dir");
}

TEST(RefusalOfWholeFiles, SaysAllThatItFindsUpToTwenty) {
    const std::string two = errors_of(
        "version: 3\nrole: x\nports: { a: { device: \"\" } }\npeerings: { lan: { legs: [ { port: a } ] } }\n");
    EXPECT_EQ(two,
              "f:1:10: found '3', expected 1\nf:2:7: found 'x', expected on-premises or azure\n"
              "f:3:23: found '', expected a DPDK device, like 0000:65:00.0 or net_af_packet0,iface=eth1");
    std::string many = "version: 1\n";
    for (int i = 0; i < 30; ++i) {
        many += "bad" + std::to_string(i) + ": 1\n";
    }
    const auto config = parse_config(many, "f");
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().size(), kMaxConfigErrors);
    EXPECT_LE(config.error().front().line, config.error().back().line);
}

}  // namespace
}  // namespace twinspan

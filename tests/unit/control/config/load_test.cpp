// Good files become the structs that they describe.
#include "control/config/load.hpp"
#include "tests/support/source_path.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace twinspan {
namespace {

std::string vector_text(const std::string& name) {
    std::ifstream in{source_path("tests/vectors/config/" + name)};
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

Config good(const std::string& name) {
    auto config = parse_config(vector_text(name), "/etc/twinspan/" + name);
    if (!config) {
        for (const ConfigError& error : config.error()) {
            ADD_FAILURE() << to_string(error);
        }
        return {};
    }
    return *config;
}

InterfaceAddress4 at4(std::string_view text) { return parse_interface_address4(text).value(); }

TEST(LoadConfig, ReadsTheSiteOfTheLab) {
    const Config config = good("nva.yaml");
    EXPECT_EQ(config.name, "nva");
    EXPECT_EQ(config.role, Role::on_premises);
    EXPECT_FALSE(config.dpdk.hugepages);
    EXPECT_EQ(config.dpdk.memory_mib, 1024u);
    EXPECT_EQ(config.dpdk.buffers, 32768u);
    EXPECT_EQ(config.workers.count, 1);
    ASSERT_EQ(config.ports.size(), 3u);
    EXPECT_EQ(config.ports[2].device, "net_af_packet2,iface=sec0");
    ASSERT_TRUE(config.circuit);
    EXPECT_EQ(config.circuit->bandwidth_bps, 10'000'000'000u);
    ASSERT_EQ(config.legs.size(), 7u);
    const std::vector<std::string> netdevs = {"lan",     "prv-pri",  "prv-sec", "pub-pri",
                                              "pub-sec", "msft-pri", "msft-sec"};
    for (std::size_t i = 0; i < netdevs.size(); ++i) {
        EXPECT_EQ(config.legs[i].netdev, netdevs[i]);
    }
    const LegConfig& leg = config.legs[6];
    EXPECT_EQ(leg.zone, Zone::microsoft_peering);
    EXPECT_EQ(leg.link, Link::secondary);
    EXPECT_EQ(leg.port, "secondary");
    EXPECT_EQ(leg.tag_count, 1);
    EXPECT_EQ(leg.tags[0].tpid, kEtherTypeVlan);
    EXPECT_EQ(leg.tags[0].tci.host(), 300);
    EXPECT_EQ(leg.addresses4, std::vector{at4("203.0.113.5/30")});
    EXPECT_EQ(config.legs[0].tag_count, 0);
    ASSERT_EQ(config.legs[0].addresses6.size(), 1u);
    EXPECT_EQ(to_string(config.legs[0].addresses6[0]), "fd10:10::1/64");
    EXPECT_EQ(to_string(config.legs[0].addresses6[0].network()), "fd10:10::/64");
    EXPECT_EQ(config.state_dir, "/var/lib/twinspan/nva");
}

TEST(LoadConfig, TunnelsOfEveryKeyHaveTheirRules) {
    const Config config = good("every-key.yaml");
    ASSERT_EQ(config.tunnels.size(), 4u);
    const TunnelConfig& first = config.tunnels[0];
    EXPECT_EQ(first.mtu, 1450);
    EXPECT_EQ(first.outer.dscp, DscpRule::microsoft);
    EXPECT_EQ(first.outer.ecn, EcnRule::compatibility);
    EXPECT_EQ(first.outer.df, DfRule::copy);
    EXPECT_EQ(first.outer.hop_limit, kCopyHopLimit);
    EXPECT_EQ(first.peer_window, 4096u);
    EXPECT_TRUE(first.spread_decryption);
    EXPECT_EQ(first.lifetime, (LifetimeConfig{std::uint64_t{100} << 30, 4'000'000'000, 86400}));
    const TunnelConfig& six = config.tunnels[3];
    EXPECT_EQ(six.name, "private-6");
    EXPECT_EQ(six.local.text(), "2001:db8:1::1");
    EXPECT_EQ(six.remote.text(), "2603:1000::5");
    EXPECT_EQ(config.legs[six.leg].netdev, "prv-pri");
    EXPECT_EQ(six.link, Link::primary);
    EXPECT_EQ(six.mtu, 1400) << "towards Azure";
    EXPECT_EQ(six.outer.dscp, DscpRule::fixed);
    EXPECT_EQ(six.outer.fixed_dscp, 34);
    EXPECT_EQ(six.outer.flow_label, FlowLabelRule::zero);
    EXPECT_EQ(config.tunnels[1].mtu, 1500) << "over the internet";
    EXPECT_EQ(config.tunnels[1].outer.df, DfRule::set);
    EXPECT_EQ(config.tunnels[1].outer.hop_limit, 64);
    EXPECT_EQ(config.tunnels[1].peer_window, 32u);
    EXPECT_FALSE(config.tunnels[1].spread_decryption);
}

TEST(LoadConfig, WithRoleAzureEverythingGoesThroughAVnet) {
    std::string text = vector_text("azgw.yaml");
    text.replace(text.find(", mtu: 1500"), 11, "");
    const auto config = parse_config(text, "azgw.yaml");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->tunnels[0].mtu, 1400);
    EXPECT_EQ(config->tunnels[1].mtu, 1500);
}

TEST(LoadConfig, ReadsPoolsTunnelsAndPrefixesOfTheLab) {
    const Config config = good("nva.yaml");
    ASSERT_EQ(config.pools.size(), 2u);
    EXPECT_EQ(config.pools[0].zone, Zone::public_peering);
    ASSERT_EQ(config.pools[1].ranges.size(), 1u);
    EXPECT_EQ(to_string(config.pools[1].ranges[0].first), "198.51.100.0");
    EXPECT_EQ(to_string(config.pools[1].ranges[0].last), "198.51.100.15");
    EXPECT_EQ(config.pools[1].first_port, 1024);
    EXPECT_EQ(config.pools[1].last_port, 65535);
    EXPECT_EQ(config.pools[1].timeouts.tcp_established, 7440u);
    EXPECT_EQ(config.nat_sessions(), 131072u);
    ASSERT_EQ(config.accept.size(), 1u);
    EXPECT_EQ(config.accept[0].zone, Zone::microsoft_peering);
    EXPECT_EQ(to_string(config.accept[0].prefixes4[1]), "20.51.0.0/29");
    ASSERT_EQ(config.tunnels.size(), 2u);
    const TunnelConfig& tunnel = config.tunnels[1];
    EXPECT_EQ(tunnel.name, "azure-1");
    EXPECT_EQ(tunnel.if_id, 2u);
    EXPECT_EQ(tunnel.link, Link::secondary);
    EXPECT_EQ(tunnel.leg, 6u);
    EXPECT_EQ(tunnel.local.text(), "203.0.113.5");
    EXPECT_EQ(tunnel.remote.text(), "20.51.0.5");
    EXPECT_EQ(tunnel.sa_file, "/etc/twinspan/azure-1.sa.yaml") << "relative to the file's folder";
    EXPECT_TRUE(tunnel.netdev);
    EXPECT_EQ(to_string(config.encrypt4.at(0)), "10.20.0.0/16");
    EXPECT_EQ(to_string(config.encrypt6.at(0)), "fd10:20::/64");
}

TEST(LoadConfig, ReadsAPoolForEachLink) {
    std::string text = vector_text("nva.yaml");
    text.replace(text.find("pool: [198.51.100.0/28]"), 23,
                 "sessions: 2000, pool: { primary: [198.51.100.0/29], secondary: [198.51.100.8/29] }");
    const auto config = parse_config(text, "nva.yaml");
    ASSERT_TRUE(config);
    ASSERT_EQ(config->pools.size(), 3u);
    EXPECT_EQ(config->pools[0].link, Link::none);
    EXPECT_EQ(config->pools[1].link, Link::primary);
    EXPECT_EQ(config->pools[2].link, Link::secondary);
    EXPECT_EQ(to_string(config->pools[2].ranges.at(0).first), "198.51.100.8");
    EXPECT_EQ(config->nat_sessions(), 65536u + 2 * 2000);
}

TEST(LoadConfig, GivesStaticMappingsToThePoolThatHasTheirAddress) {
    std::string text = vector_text("nva.yaml");
    text.replace(text.find("pool: [198.51.100.0/28]"), 23,
                 "pool: { primary: [198.51.100.0/29], secondary: [198.51.100.8/29] }, static: "
                 "[ { outside: 198.51.100.9, inside: 10.9.0.1 }, { outside: 198.51.100.1, inside: 10.9.0.1 } ]");
    const auto config = parse_config(text, "nva.yaml");
    ASSERT_TRUE(config) << "one inside end in each pool";
    ASSERT_EQ(config->pools.at(1).statics.size(), 1u);
    EXPECT_EQ(to_string(config->pools[1].statics[0].outside), "198.51.100.1");
    ASSERT_EQ(config->pools.at(2).statics.size(), 1u);
    EXPECT_EQ(to_string(config->pools[2].statics[0].outside), "198.51.100.9");
}

TEST(LoadConfig, ReadsTheAzureEndOfTheLab) {
    const Config config = good("azgw.yaml");
    EXPECT_EQ(config.role, Role::azure);
    EXPECT_FALSE(config.circuit);
    ASSERT_EQ(config.legs.size(), 2u);
    EXPECT_EQ(config.legs[0].netdev, "lan") << "peerings in the order of the reference page";
    EXPECT_EQ(config.legs[1].netdev, "inet");
    EXPECT_EQ(config.legs[1].addresses4.size(), 2u);
    EXPECT_EQ(config.tunnels.at(1).leg, 1u);
    EXPECT_EQ(config.tunnels.at(1).link, Link::none);
    EXPECT_EQ(config.state_dir, "/var/lib/twinspan/azgw");
    EXPECT_EQ(config.nat_sessions(), 0u);
}

TEST(LoadConfig, ReadsEveryKey) {
    const Config config = good("every-key.yaml");
    EXPECT_EQ(config.dpdk.memory_mib, 2048u);
    EXPECT_EQ(config.dpdk.buffers, 65536u);
    EXPECT_EQ(config.dpdk.args, std::vector<std::string>{"--no-telemetry"});
    EXPECT_EQ(config.workers.count, 2);
    EXPECT_EQ(config.workers.idle, IdlePolicy::poll);
    EXPECT_EQ(config.workers.cpus, (std::vector<unsigned>{2, 3}));
    EXPECT_EQ(config.limits.punt_pps, 20000u);
    EXPECT_EQ(config.limits.icmp_errors_pps, 500u);
    EXPECT_EQ(config.limits.routes_ipv4, 200000u);
    EXPECT_EQ(config.limits.routes_ipv6, 65536u);
    EXPECT_EQ(config.ports.at(0).mtu, 9000);
    EXPECT_EQ(config.circuit->bandwidth_bps, 500'000'000u);
    EXPECT_EQ(config.legs.at(0).mtu, 9000) << "the port's";
    EXPECT_EQ(config.legs.at(1).netdev, "guests");
    EXPECT_EQ(config.legs.at(1).mtu, 1400);
    const LegConfig& qinq = config.legs.at(2);
    EXPECT_EQ(qinq.tag_count, 2);
    EXPECT_EQ(qinq.tags[0].tpid, kEtherTypeQinQ);
    EXPECT_EQ(qinq.tags[0].tci.host(), 10);
    EXPECT_EQ(qinq.tags[1].tpid, kEtherTypeVlan);
    EXPECT_EQ(qinq.tags[1].tci.host(), 100);
    const PoolConfig& pool = config.pools.at(0);
    EXPECT_EQ(pool.high_water, 90);
    EXPECT_EQ(pool.low_water, 50);
    ASSERT_EQ(pool.ranges.size(), 3u);
    EXPECT_EQ(to_string(pool.ranges[0].first), "198.51.100.2") << "ascending";
    EXPECT_EQ(to_string(pool.ranges[2].last), "198.51.100.15");
    EXPECT_EQ(pool.first_port, 2048);
    EXPECT_EQ(pool.last_port, 60000);
    ASSERT_EQ(pool.reserved.size(), 3u);
    EXPECT_EQ(pool.reserved[0].first, 2048) << "cut to the pool's ports";
    EXPECT_EQ(pool.reserved[1].first, 5060);
    EXPECT_EQ(pool.reserved[1].last, 5062) << "merged";
    EXPECT_EQ(pool.reserved[2].last, 60000);
    EXPECT_EQ(pool.mapping, NatMapping::endpoint_independent);
    EXPECT_EQ(pool.host_sessions, 4000u);
    EXPECT_EQ(pool.host_rate, 500u);
    EXPECT_EQ(pool.block_ports, 512);
    EXPECT_EQ(pool.host_blocks, 4);
    EXPECT_EQ(pool.timeouts.udp, 120u);
    EXPECT_EQ(pool.timeouts.tcp_established, 10800u);
    EXPECT_EQ(pool.timeouts.tcp_transitory, 300u);
    EXPECT_EQ(pool.timeouts.tcp_closing, 360u);
    EXPECT_EQ(pool.timeouts.icmp, 30u);
    EXPECT_EQ(pool.timeouts.other, 600u);
    EXPECT_EQ(pool.sessions, 262144u);
    ASSERT_EQ(pool.statics.size(), 3u);
    EXPECT_TRUE(pool.statics[0].whole_host());
    EXPECT_EQ(to_string(pool.statics[0].outside), "198.51.100.2");
    EXPECT_EQ(to_string(pool.statics[1].inside), "10.66.0.21");
    EXPECT_EQ(pool.statics[1].protocol, +IpProtocol::tcp);
    EXPECT_EQ(pool.statics[1].outside_port.host(), 2443);
    EXPECT_EQ(pool.statics[1].inside_port.host(), 8443);
    EXPECT_EQ(pool.statics[2].inside_port.host(), 53);
    EXPECT_EQ(to_string(pool.from_microsoft.at(0).last), "10.66.255.15");
    EXPECT_TRUE(pool.any_protocol);
    EXPECT_FALSE(pool.inbound_refresh);
    EXPECT_EQ(to_string(config.accept.at(0).prefixes6.at(0)), "2603:1000::/24");
    EXPECT_EQ(config.tunnels.at(0).mtu, 1450);
    EXPECT_FALSE(config.tunnels.at(0).netdev);
    EXPECT_EQ(config.state_dir, "/srv/twinspan");
    EXPECT_EQ(config.circuit->sku, CircuitSku::premium);
    EXPECT_EQ(config.ports.at(4).shared, "eth0");
    EXPECT_EQ(config.ports.at(4).device, "");
}

TEST(LoadConfig, ReadsEveryKeyOfRouting) {
    const Config config = good("every-key.yaml");
    ASSERT_TRUE(config.bgp);
    EXPECT_EQ(config.bgp->asn, 65010u);
    EXPECT_EQ(to_string(config.bgp->router_id), "10.10.0.2");
    EXPECT_EQ(to_string(config.bgp->announce4.at(0)), "10.10.0.0/16");
    EXPECT_EQ(to_string(config.bgp->announce6.at(0)), "fd10:10::/48");
    ASSERT_EQ(config.peering_bgp.size(), 1u);
    EXPECT_EQ(config.peering_bgp[0].zone, Zone::private_peering);
    EXPECT_TRUE(config.peering_bgp[0].announce_given);
    EXPECT_EQ(to_string(config.peering_bgp[0].announce4.at(0)), "10.10.0.0/24");
    EXPECT_EQ(to_string(config.peering_bgp[0].announce6.at(0)), "fd10:10::/64");
    ASSERT_TRUE(config.legs.at(2).bgp);
    const LegBgp& leg = *config.legs[2].bgp;
    EXPECT_EQ(leg.session.password_file, "/etc/twinspan/msee.md5") << "the peering's, relative to the file's folder";
    EXPECT_EQ(leg.session.keepalive_s, 5u);
    EXPECT_EQ(leg.session.hold_s, 15u);
    EXPECT_TRUE(leg.session.bfd);
    EXPECT_EQ(leg.session.bfd_interval_ms, 750u);
    EXPECT_EQ(leg.session.bfd_multiplier, 4u);
    EXPECT_EQ(leg.session.max_prefixes, 5000u);
    EXPECT_EQ(leg.session.communities, (std::vector<Community>{{12076, 50026}}));
    EXPECT_EQ(leg.session.local_preference, 150u) << "the leg's own";
    EXPECT_EQ(leg.session.prepend, 0u) << "the leg's own, though it is the default";
    EXPECT_EQ(leg.peer_asn, 65020u);
    EXPECT_EQ(to_string(leg.peer4.value()), "172.16.0.2");
    EXPECT_EQ(to_string(leg.peer6.value()), "2001:db8:1::2");
    EXPECT_FALSE(config.legs.at(3).bgp);
    ASSERT_EQ(config.fallback.size(), 2u);
    EXPECT_EQ(config.fallback[0].zone, Zone::private_peering);
    EXPECT_EQ(config.fallback[0].tunnels, std::vector<std::size_t>{1});
    EXPECT_EQ(config.fallback[1].zone, Zone::microsoft_peering);
    EXPECT_TRUE(config.fallback[1].internet);
}

TEST(LoadConfig, ReadsEveryKeyOfTunnels) {
    const Config config = good("every-key.yaml");
    EXPECT_FALSE(config.tunnels.at(0).ike);
    const TunnelConfig& tunnel = config.tunnels.at(1);
    EXPECT_EQ(tunnel.sa_file, "");
    EXPECT_EQ(to_string(tunnel.address.value()), "169.254.21.1/30");
    ASSERT_TRUE(tunnel.ike);
    const IkeConfig& ike = *tunnel.ike;
    EXPECT_EQ(ike.psk_file, "/etc/twinspan/inet-0.psk");
    EXPECT_EQ(ike.local_id, "nva.example.com");
    EXPECT_EQ(ike.remote_id, "gateway.example.net");
    EXPECT_EQ(ike.proposals, std::vector<std::string>{"aes256gcm16-prfsha384-ecp384"});
    EXPECT_EQ(ike.esp_proposals,
              (std::vector<std::string>{"aes256gcm16", "aes128gcm12-ecp384", "aes256-sha256-modp2048"}));
    EXPECT_EQ(ike.suites,
              (std::vector<SuiteChoice>{
                  {Suite::aes_256_gcm, 16}, {Suite::aes_128_gcm, 12}, {Suite::aes_256_cbc_hmac_sha256, 16}}));
    EXPECT_EQ(ike.dpd_s, 30u);
    EXPECT_FALSE(ike.initiate);
    EXPECT_EQ(ike.nat_t, NatTraversal::always);
    EXPECT_EQ(ike.rekey_time_s, 7200u);
    EXPECT_EQ(ike.rekey_bytes, 100ull << 30);
    EXPECT_EQ(ike.rekey_packets, 1'000'000u);
    EXPECT_EQ(ike.replay_window, 2048u);
    EXPECT_EQ(to_string(ike.local4.at(0)), "10.10.0.0/16");
    EXPECT_EQ(to_string(ike.remote4.at(0)), "10.30.0.0/16");
    EXPECT_EQ(to_string(ike.remote6.at(0)), "fd10:30::/64");
    ASSERT_TRUE(tunnel.bgp);
    EXPECT_EQ(to_string(tunnel.bgp->peer), "169.254.21.2");
    EXPECT_EQ(tunnel.bgp->peer_asn, 65514u);
    EXPECT_EQ(tunnel.bgp->keepalive_s, 20u);
    EXPECT_EQ(tunnel.bgp->hold_s, 60u);
    EXPECT_EQ(tunnel.bgp->max_prefixes, 100u);
    EXPECT_EQ(tunnel.bgp->local_preference, 90u);
    EXPECT_EQ(tunnel.bgp->prepend, 2u);
    const IkeConfig& pki = config.tunnels.at(2).ike.value();
    EXPECT_EQ(pki.certificate, "/etc/twinspan/nva.pem");
    EXPECT_EQ(pki.key, "/etc/twinspan/nva.key");
    EXPECT_EQ(pki.ca, "/etc/twinspan/azure.pem");
    EXPECT_FALSE(config.tunnels.at(2).bgp);
}

TEST(LoadConfig, CompletesWhatOneFileLeavesOut) {
    const Config config = good("one-file.yaml");
    EXPECT_EQ(to_string(config.bgp.value().router_id), "10.10.0.1") << "the lowest of lan";
    const auto& primary = config.legs.at(1).bgp.value();
    const auto& secondary = config.legs.at(2).bgp.value();
    EXPECT_EQ(primary.peer_asn, kMicrosoftAsn);
    EXPECT_EQ(to_string(secondary.peer4.value()), "172.16.0.6");
    EXPECT_EQ(to_string(secondary.peer6.value()), "2001:db8:1::6");
    EXPECT_EQ(primary.session.max_prefixes, 4000u);
    EXPECT_EQ(primary.session.bfd_interval_ms, 300u);
    EXPECT_EQ(secondary.session.bfd_interval_ms, 750u);
    EXPECT_EQ(secondary.session.prepend, 1u);
    EXPECT_EQ(secondary.session.local_preference, 100u);
    EXPECT_EQ(secondary.session.communities.size(), 1u);
    EXPECT_EQ(config.legs.at(5).bgp.value().session.max_prefixes, 200u) << "Microsoft peering";
    EXPECT_FALSE(config.legs.at(3).bgp.value().session.bfd);
    const TunnelBgp& tunnel = config.tunnels.at(0).bgp.value();
    EXPECT_EQ(tunnel.peer_asn, kAzureGatewayAsn);
    EXPECT_EQ(tunnel.keepalive_s, 60u);
    EXPECT_EQ(tunnel.hold_s, 180u);
    EXPECT_EQ(tunnel.max_prefixes, 4000u);
    EXPECT_EQ(tunnel.local_preference, 100u);
    EXPECT_EQ(config.tunnels.at(2).bgp.value().local_preference, 50u) << "a fallback";
}

TEST(LoadConfig, SaysWhyAFileCannotBeRead) {
    const auto missing = load_config("/nowhere/nva.yaml");
    ASSERT_FALSE(missing);
    EXPECT_EQ(to_string(missing.error().at(0)),
              "/nowhere/nva.yaml: cannot read the file (No such file or directory), expected a configuration");
    const auto folder = load_config("/tmp");
    ASSERT_FALSE(folder);
    EXPECT_EQ(to_string(folder.error().at(0)), "/tmp: cannot read the file (Is a directory), expected a configuration");
}

TEST(LoadConfig, WantsTheSaFilesToExist) {
    const auto config = load_config(source_path("tests/vectors/config/azgw.yaml"));
    ASSERT_FALSE(config);
    ASSERT_EQ(config.error().size(), 2u);
    EXPECT_EQ(config.error()[0].line, 17u);
    EXPECT_NE(config.error()[0].message.find(
                  "onprem-0.sa.yaml' (No such file or directory), expected one with the tunnel's keys"),
              std::string::npos);
}

}  // namespace
}  // namespace twinspan

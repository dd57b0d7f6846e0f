// What the rendered text means, where the real daemons cannot tell: limits, names, times. They check the rest
// (tests/render).
#include "control/render/render.hpp"
#include "control/config/load.hpp"
#include "tests/support/source_path.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>

namespace twinspan::render {
namespace {

class Render : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/render-XXXXXX";
        folder_ = mkdtemp(name);
        std::ofstream{folder_ / "azure.psk"} << "a key\n";
        chmod((folder_ / "azure.psk").c_str(), 0600);
        std::ifstream in{source_path("tests/vectors/config/one-file.yaml")};
        std::ostringstream text;
        text << in.rdbuf();
        text_ = text.str();
        change("password-file: msee.md5, ", "");
        change("certificate: nva.pem, key: nva.key, ca: azure.pem", "psk-file: azure.psk");
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    void change(const std::string& from, const std::string& to) {
        const std::size_t at = text_.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        text_.replace(at, from.size(), to);
    }
    Config config() const {
        auto out = parse_config(text_, (folder_ / "nva.yaml").string());
        EXPECT_TRUE(out) << (out ? "" : to_string(out.error().front()));
        return out ? *out : Config{};
    }
    static std::string file(const Result<Files>& files, const std::string& name) {
        EXPECT_TRUE(files) << (files ? "" : files.error().what);
        for (const File& each : files ? *files : Files{}) {
            if (each.path == name) {
                return each.text;
            }
        }
        ADD_FAILURE() << name;
        return {};
    }
    std::string frr_conf() const { return file(frr(config()), "frr.conf"); }

    std::filesystem::path folder_;
    std::string text_;
};

bool has_line(const std::string& text, const std::string& line) {
    return ('\n' + text).find('\n' + line + '\n') != std::string::npos;
}

TEST_F(Render, PrivatePeeringHearsOfTunnelEndsAloneWhenTunnelsRunOverIt) {
    change("    local: 203.0.113.1\n", "    local: 172.16.0.1\n");
    const std::string text = frr_conf();
    EXPECT_TRUE(has_line(text, "ip prefix-list announce-prv-pri seq 5 permit 172.16.0.1/32"));
    EXPECT_EQ(text.find("announce-prv-pri seq 5 permit 10.10.0.0/16"), std::string::npos);
    EXPECT_TRUE(has_line(text, "ip prefix-list announce-prv-sec seq 5 deny any")) << "an end is on its own link alone";
    EXPECT_TRUE(has_line(text, "ip prefix-list announce-azure-0 seq 5 permit 10.10.0.0/16")) << "in the tunnel";
    change("bgp: { communities: [\"12076:50026\"] }", "bgp: { announce: [10.10.7.0/24] }");
    const std::string own = frr_conf();
    EXPECT_TRUE(has_line(own, "ip prefix-list announce-prv-pri seq 5 permit 10.10.7.0/24")) << "the peering's own";
    EXPECT_TRUE(has_line(own, "ipv6 prefix-list announce-prv-pri seq 5 deny any"));
}

// charon gives a tunnel up for good on a refusal; somebody has to begin again.
TEST_F(Render, TunnelsThatWeInitiateAreBegunAnew) {
    const Result<Files> files = systemd(config(), "/etc/twinspan/nva.yaml");
    EXPECT_NE(file(files, "systemd/system/twinspan-ike.service").find("for name in azure-0"), std::string::npos);
    EXPECT_NE(file(files, "systemd/system/twinspan-ike.timer").find("OnUnitInactiveSec=10s"), std::string::npos);
}

TEST_F(Render, UnitSavesTheSessionsThatAPoolHas) {
    const auto unit = [](const Config& of) {
        return file(systemd(of, "/etc/twinspan/nva.yaml"), "systemd/system/twinspand.service");
    };
    Config with = config();
    with.pools.resize(1);
    Config without = config();
    without.pools.clear();
    const std::string line = "\nExecStop=-twinspanctl --name " + with.name + " save-state\n";
    EXPECT_NE(unit(with).find(line), std::string::npos);
    EXPECT_EQ(unit(without).find("ExecStop="), std::string::npos);
}

TEST_F(Render, EveryNeighbourHasPoliciesAndLimitsBothWays) {
    const std::string text = frr_conf();
    const std::regex activated{"neighbor (\\S+) activate"};
    std::size_t count = 0;
    for (std::sregex_iterator it{text.begin(), text.end(), activated}, end; it != end; ++it, ++count) {
        const std::string neighbour = "  neighbor " + (*it)[1].str();
        for (const char* rest : {" route-map \\S+-in[46] in", " route-map \\S+-out[46] out",
                                 " maximum-prefix [0-9]+ (warning-only|restart 5)", " maximum-prefix-out [0-9]+"}) {
            EXPECT_TRUE(std::regex_search(text, std::regex{neighbour + rest + "\n"})) << neighbour << rest;
        }
    }
    EXPECT_EQ(count, 11u);
    EXPECT_TRUE(has_line(text, "  neighbor 203.0.113.2 maximum-prefix-out 200"));
    EXPECT_TRUE(has_line(text, "  neighbor 172.16.0.2 maximum-prefix-out 4000"));
    EXPECT_TRUE(has_line(text, "  neighbor 2001:db8:1::2 maximum-prefix-out 100"));
    EXPECT_EQ(text.find("no bgp ebgp-requires-policy"), std::string::npos);
    change("bandwidth: 1Gbps", "bandwidth: 1Gbps, sku: premium");
    EXPECT_TRUE(has_line(frr_conf(), "  neighbor 172.16.0.2 maximum-prefix-out 10000"));
}

TEST_F(Render, TimersOfLegsAndTunnels) {
    const std::string text = frr_conf();
    EXPECT_TRUE(has_line(text, " neighbor 172.16.0.2 timers 10 30"));
    EXPECT_TRUE(has_line(text, " neighbor 192.0.2.2 timers 60 180"));
    EXPECT_TRUE(has_line(text, " neighbor 169.254.21.2 timers 60 180"));
    EXPECT_TRUE(has_line(text, " neighbor 172.16.0.6 bfd profile tx750x3"));
    EXPECT_EQ(text.find("neighbor 192.0.2.2 bfd"), std::string::npos);
    EXPECT_EQ(text.find("neighbor 169.254.21.2 bfd"), std::string::npos) << "Azure's gateway has none";
    EXPECT_EQ(text.find("neighbor 169.254.21.2 ebgp-multihop"), std::string::npos);
    EXPECT_EQ(text, frr_conf()) << "the same every time";
}

// The question after a silence, and all its repetitions, fit into what the engineer asked for.
TEST_F(Render, ADeadPeerIsNoticedWithinDpd) {
    for (const unsigned dpd : {9u, 10u, 15u, 30u, 45u, 60u, 3600u}) {
        Config changed = config();
        for (TunnelConfig& tunnel : changed.tunnels) {
            tunnel.ike->dpd_s = dpd;
        }
        const auto files = strongswan(changed);
        std::smatch found;
        const std::string charon = file(files, "twinspan.conf"), swanctl = file(files, "swanctl.conf");
        ASSERT_TRUE(std::regex_search(charon, found, std::regex{"retransmit_tries = ([0-9]+)\n"}));
        double given_up = 0;
        for (int i = 0; i <= std::stoi(found[1]); ++i) {
            given_up += 2.0 * std::pow(1.5, i);
        }
        ASSERT_TRUE(std::regex_search(swanctl, found, std::regex{"dpd_delay = ([0-9]+)s\n"}));
        EXPECT_LE(std::stoi(found[1]) + given_up, dpd) << dpd;
        EXPECT_GE(std::stoi(found[1]), 3) << dpd;
    }
}

TEST_F(Render, LifetimesStayBelowTheLastSequenceNumber) {
    change("ike: { psk-file: azure.psk }", "ike: { psk-file: azure.psk, rekey-packets: 4000000000 }");
    const std::string text = file(strongswan(config()), "swanctl.conf");
    EXPECT_NE(text.find("rekey_packets = 4000000000\n"), std::string::npos);
    EXPECT_NE(text.find("life_packets = 4294967295\n"), std::string::npos);
    EXPECT_NE(text.find("rekey_bytes = 104857600000\n"), std::string::npos) << "Azure's 102,400,000 KB";
    EXPECT_NE(text.find("esp_proposals = "
                        "aes256gcm16,aes192gcm16,aes128gcm16,aes256-sha1,aes256-sha256,aes128-sha1,aes128-sha256\n"),
              std::string::npos);
}

TEST_F(Render, SaysWhatIsMissing) {
    Config plain = config();
    plain.bgp.reset();
    const auto no_bgp = frr(plain);
    ASSERT_FALSE(no_bgp);
    EXPECT_NE(no_bgp.error().what.find("no section 'bgp'"), std::string::npos);
    plain.tunnels.clear();
    const auto no_ike = strongswan(plain);
    ASSERT_FALSE(no_ike);
    EXPECT_NE(no_ike.error().what.find("no tunnel with 'ike'"), std::string::npos);
    const auto spaces = systemd(plain, "/etc/a b.yaml");
    ASSERT_FALSE(spaces);
    EXPECT_NE(spaces.error().what.find("expected one without spaces"), std::string::npos);
}

}  // namespace
}  // namespace twinspan::render

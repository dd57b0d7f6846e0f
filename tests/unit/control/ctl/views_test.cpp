#include "control/ctl/views.hpp"
#include "control/ctl/table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace twinspan::ctl {
namespace {

using nlohmann::json;

// Replies as docs/control-socket.md has them, with the largest figures a week at 10 Gbit/s gives.
const std::map<std::string, const char*> kReplies = {
    {"ports",
     R"([{"name":"secondary","device":"net_af_packet2,iface=sec0","netdev":"sec0","link":"up","mac":"02:00:00:00:00:02","mtu":1500,
        "rx_packets":8928571428571,"rx_bytes":756000000000000,"tx_packets":8928571428571,"tx_bytes":756000000000000,"rx_missed":12,
        "rx_errors":3,"tx_errors":4}])"},
    {"legs", R"([{"name":"msft-sec","peering":"microsoft","link":"secondary","port":"secondary","vlan":"100.300",
        "addresses":["203.0.113.5/30","2001:db8:ffff:ffff::5/126"],"state":"drained","rx_packets":8928571428571,
        "rx_bytes":756000000000000,"tx_packets":8928571428571,"tx_bytes":756000000000000}])"},
    {"tunnels",
     R"([{"name":"azure-0","if_id":1,"link":"primary","local":"203.0.113.101","remote":"120.151.100.114","state":"down",
        "reason":"no SA","spi_out":4294967295,"spi_in":8193,"suite":"aes-256-gcm","sequence":1234,"reserved_until":65536,"inner_mtu":1446,
        "mss4":1406,"rx_packets":8928571428571,"rx_bytes":756000000000000,"tx_packets":8928571428571,"tx_bytes":756000000000000}])"},
    {"sas",
     R"([{"tunnel":"azure-0","spi":4294967295,"direction":"out","source":"kernel","in_use":true,"suite":"aes-256-cbc-hmac-sha256",
        "icv":128,"esn":false,"encapsulation":"none","peer":"2603:1000:0:1::1234","sequence":4294967295,
        "reserved_until":4294967295,"window":null,"packets":4294967295,"bytes":104857600000000,
        "left":{"bytes":1048576000000,"packets":123456789,"seconds":27000}},
        {"tunnel":"azure-0","spi":8193,"direction":"in","source":"static","in_use":true,"suite":"aes-256-gcm",
        "icv":128,"esn":true,"encapsulation":"udp 4500-61234","peer":"120.151.100.114","sequence":1234,
        "reserved_until":null,"window":1024,"packets":12345678,"bytes":10485760,
        "left":{"bytes":null,"packets":null,"seconds":null}}])"},
    {"groups",
     R"([{"id":3,"buckets":256,"members":[{"egress":"203.0.113.2 dev msft-pri","weight":1,"buckets":192,"state":"up"},
        {"egress":"203.0.113.6 dev msft-sec","weight":1,"buckets":64,"state":"drained"}]}])"},
    {"routes",
     R"([{"prefix":"10.20.0.0/16","kind":"forward","via":["tunnel azure-0","tunnel azure-1"],"encrypt":true,"note":""},
        {"prefix":"203.0.113.1/32","kind":"local","via":[],"encrypt":false,"note":""}])"},
    {"neighbours", R"([{"address":"203.0.113.2","netdev":"msft-pri","mac":"02:00:00:00:01:02","state":"reachable"},
        {"address":"203.0.113.6","netdev":"msft-sec","mac":null,"state":"incomplete"}])"},
    {"nat",
     R"({"pools":[{"peering":"microsoft","link":"secondary","mode":"endpoint-independent","addresses":["198.51.100.0-198.51.100.15"],"ports":"1024-65535","sessions":1500,
        "limit":65536,"created":120000,"expired":118500,"evicted":1234567,"ports_exhausted":0,"sessions_exhausted":2,"blocks_exhausted":1234567,
        "host_limited":1234567,"host_rate_limited":1234567,"by_protocol":{"tcp":1200,"udp":299,"icmp":1},
        "by_address":[{"address":"198.51.100.15","protocol":"icmp","sessions":1234567,"ports":64512,"ports_free":0}],
        "water":{"state":"high","high":52429,"low":39321,"peak":1234567,"times":3},"forecast":{"growth_per_s":12.5,"full_in_s":93784}}],
        "talkers":[{"peering":"microsoft","host":"10.110.120.130","sessions":1234567}],
        "remotes":[{"peering":"microsoft","protocol":"tcp","remote":"113.107.106.110:65535","sessions":1234567,"free":1032192}],
        "sessions":[{"protocol":"tcp","inside":"10.10.0.10:51000","outside":"198.51.100.3:2048","remote":"13.107.6.10:443",
        "state":"established","idle_s":75}],"capacity":131072,"memory_bytes":16777216})"},
    {"drops", R"([{"reason":"no_route","count":0,"help":"No route to the destination"},
        {"reason":"unsolicited","count":1234,"help":"Microsoft or public peering tried to reach the inside without a session"}])"},
    {"workers",
     R"([{"id":0,"cpu":1,"loops":10000000000000,"busy_loops":2500000000000,"helped":123456,"rx":8928571428571,"injected":12345678901,
        "generated":12345678,"taken":12345,"tx":8928571428571,"punted":1234567890,"handed":123456,"drops":12345678901}])"},
    {"metrics",
     R"([{"name":"twinspan_mirror_overruns_total","kind":"counter","value":3,"help":"The kernel dropped events"}])"},
    {"accounting",
     R"({"rx":1000,"injected":10,"generated":1,"fragmented":5,"taken":3,"tx":901,"punted":11,"merged":2,"handed":3,"held":2,"drops":100,"exact":true,
        "threads":[{"name":"worker 0",
        "rx":1000,"injected":10,"generated":1,"fragmented":5,"taken":3,"tx":901,"punted":11,"merged":4,"handed":3,"held":-1,"drops":101,"exact":true}]})"},
};

TEST(Views, FitTheTerminalWithoutCutting) {
    for (const std::string_view kind : show_kinds()) {
        ASSERT_TRUE(kReplies.contains(std::string{kind})) << kind;
        const std::string shown = view(kind, json::parse(kReplies.at(std::string{kind})));
        std::istringstream lines{shown};
        for (std::string line; std::getline(lines, line);) {
            const auto characters =
                std::ranges::count_if(line, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
            EXPECT_LE(characters, static_cast<std::ptrdiff_t>(kTerminalColumns)) << kind << ": " << line;
        }
        EXPECT_EQ(shown.find("…"), std::string::npos) << kind << ":\n" << shown;
    }
}

struct Golden {
    const char* kind;
    const char* shown;
};

TEST(Views, ShowWhatTheReplySays) {
    const Golden rows[] = {
        {"ports",
         "port       netdev  link  mac                 mtu  device\n"
         "secondary  sec0    up    02:00:00:00:00:02  1500  net_af_packet2,iface=sec0\n"
         "\n"
         "port              rx packets  rx bytes         tx packets  tx bytes  rx missed  rx errors  tx errors\n"
         "secondary  8,928,571,428,571    756 TB  8,928,571,428,571    756 TB         12          3          4\n"},
        {"legs",
         "leg       peering    link       port       vlan     state    addresses\n"
         "msft-sec  microsoft  secondary  secondary  100.300  drained  203.0.113.5/30\n"
         "                                                             2001:db8:ffff:ffff::5/126\n"
         "\n"
         "leg              rx packets  rx bytes         tx packets  tx bytes\n"
         "msft-sec  8,928,571,428,571    756 TB  8,928,571,428,571    756 TB\n"},
        {"groups",
         "group  member                    state    weight  buckets   share\n"
         "3      203.0.113.2 dev msft-pri  up            1      192  75.0 %\n"
         "       203.0.113.6 dev msft-sec  drained       1       64  25.0 %\n"},
        {"routes",
         "prefix          kind     encrypt  via\n"
         "10.20.0.0/16    forward  yes      tunnel azure-0\n"
         "                                  tunnel azure-1\n"
         "203.0.113.1/32  local    no\n"},
        {"neighbours",
         "address      netdev    mac                state\n"
         "203.0.113.2  msft-pri  02:00:00:00:01:02  reachable\n"
         "203.0.113.6  msft-sec  -                  incomplete\n"},
        {"nat",
         "peering    link       addresses                   ports       sessions      of    tcp  udp  icmp\n"
         "microsoft  secondary  198.51.100.0-198.51.100.15  1024-65535     1,500  65,536  1,200  299     1\n"
         "\n"
         "peering    link       created  expired    evicted  no port  no room  water       peak  full in\n"
         "microsoft  secondary  120,000  118,500  1,234,567        0        2  high   1,234,567  1 d 2 h\n"
         "\n"
         "peering    link       mode                  host limit  host rate   no block\n"
         "microsoft  secondary  endpoint-independent   1,234,567  1,234,567  1,234,567\n"
         "\n"
         "peering    address        protocol   sessions  ports in use  free\n"
         "microsoft  198.51.100.15  icmp      1,234,567        64,512     0\n"
         "\n"
         "peering    top host         sessions\n"
         "microsoft  10.110.120.130  1,234,567\n"
         "\n"
         "peering    protocol  top remote              sessions  ports free\n"
         "microsoft  tcp       113.107.106.110:65535  1,234,567   1,032,192\n"
         "\n"
         "protocol  inside            outside            remote           state              idle\n"
         "tcp       10.10.0.10:51000  198.51.100.3:2048  13.107.6.10:443  established  1 min 15 s\n"
         "\n1,500 of 131,072 sessions, 16.8 MB\n"},
        {"drops",
         "reason       count  meaning\n"
         "unsolicited  1,234  Microsoft or public peering tried to reach the inside without a session\n"},
        {"accounting",
         "thread          rx  injected  generated  fragmented  taken\n"
         "worker 0     1,000        10          1           5      3\n"
         "all workers  1,000        10          1           5      3\n"
         "\n"
         "thread        tx  punted  merged  handed  held  drops  exact\n"
         "worker 0     901      11       4       3    -1    101  yes\n"
         "all workers  901      11       2       3     2    100  yes\n"
         "\nrx + injected + generated + fragmented + taken = tx + punted + merged + handed + held + drops\n"},
    };
    for (const Golden& row : rows) {
        EXPECT_EQ(view(row.kind, json::parse(kReplies.at(row.kind))), row.shown) << row.kind;
    }
}

TEST(Views, NameWhatIsEmpty) {
    EXPECT_EQ(view("tunnels", json::array()), "no tunnels\n");
    EXPECT_EQ(view("drops", json::parse(R"([{"reason":"no_route","count":0,"help":""}])")), "nothing was dropped\n");
    EXPECT_EQ(view("nat", json::object()), "no pools\n\nno sessions\n\n0 of 0 sessions, 0 B\n");
}

TEST(Views, BearRepliesOfAnyShape) {
    const char* const shapes[] = {"null",
                                  "1",
                                  "\"x\"",
                                  "[]",
                                  "{}",
                                  "[1]",
                                  "[{}]",
                                  "[[]]",
                                  R"([{"members":1,"via":{},"buckets":"x"}])",
                                  R"({"pools":1,"sessions":{},"threads":2,"exact":"yes"})",
                                  R"([{"members":[1,null]}])",
                                  R"({"threads":[1,[]],"pools":["x"]})",
                                  R"({"pools":[{"by_address":[1],"forecast":{"full_in_s":"x"}}],"talkers":[1]})",
                                  R"([{"labels":{"a":1}}])"};
    for (const std::string_view kind : show_kinds()) {
        for (const char* shape : shapes) {
            EXPECT_NO_THROW(view(kind, json::parse(shape))) << kind << ' ' << shape;
        }
    }
}

TEST(Views, MetricsAreInPrometheusTextFormat) {
    EXPECT_EQ(view("metrics", json::parse(kReplies.at("metrics"))),
              "# HELP twinspan_mirror_overruns_total The kernel dropped events\n"
              "# TYPE twinspan_mirror_overruns_total counter\n"
              "twinspan_mirror_overruns_total 3\n");
}

TEST(Views, MetricsOfOneNameAreExplainedOnce) {
    EXPECT_EQ(view("metrics", json::parse(R"([
                  {"name":"a","kind":"gauge","value":1,"help":"h","labels":{"pool":"microsoft","protocol":"tcp"}},
                  {"name":"a","kind":"gauge","value":2,"help":"h","labels":{"pool":"public","protocol":"tcp"}},
                  {"name":"b","kind":"gauge","value":3,"help":"i","labels":{}}])")),
              "# HELP a h\n# TYPE a gauge\n"
              "a{pool=\"microsoft\",protocol=\"tcp\"} 1\n"
              "a{pool=\"public\",protocol=\"tcp\"} 2\n"
              "# HELP b i\n# TYPE b gauge\nb 3\n");
}

TEST(Views, NatThatIsNotGrowingSaysSo) {
    json data = json::parse(kReplies.at("nat"));
    data["pools"][0]["forecast"]["full_in_s"] = nullptr;
    EXPECT_NE(view("nat", data).find("not at this rate"), std::string::npos);
}

}  // namespace
}  // namespace twinspan::ctl

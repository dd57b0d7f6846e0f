// How systemd starts what belongs together: the data plane, then FRR and strongSwan on its interfaces.
#include "control/render/render.hpp"
#include "control/render/text.hpp"

#include <string_view>

namespace twinspan::render {

namespace {

// Linux must answer for the path both ways, and must not use a route whose link is down.
constexpr const char* kSysctls[] = {
    "net.ipv4.ip_forward = 1",
    "net.ipv6.conf.all.forwarding = 1",
    "# Routes over a leg whose port lost its carrier do not count.",
    "net.ipv4.conf.all.ignore_routes_with_linkdown = 1",
    "net.ipv4.conf.default.ignore_routes_with_linkdown = 1",
    "net.ipv6.conf.all.ignore_routes_with_linkdown = 1",
    "net.ipv6.conf.default.ignore_routes_with_linkdown = 1",
    "# Azure may answer over the other link: a source must have a route, not the route back.",
    "net.ipv4.conf.all.rp_filter = 2",
    "net.ipv4.conf.default.rp_filter = 2",
    "# What Linux itself sends is spread by flow, as the data plane does.",
    "net.ipv4.fib_multipath_hash_policy = 1",
    "net.ipv6.fib_multipath_hash_policy = 1",
    "net.ipv4.conf.all.send_redirects = 0",
    "net.ipv4.conf.all.accept_redirects = 0",
    "net.ipv6.conf.all.accept_redirects = 0",
};

std::string unit(const Config& config, const std::filesystem::path& config_file) {
    const std::string daemon = "twinspand --config " + config_file.string();
    Text text{0};
    text.line("# Written by twinspanctl render systemd from the configuration of ", config.name, '.');
    text.line("[Unit]");
    text.line("Description=Twinspan ", config.name, ": data plane of a circuit's two links");
    text.line("After=network-pre.target systemd-sysctl.service");
    text.line("Wants=network-pre.target");
    text.line("Before=frr.service strongswan.service network-online.target");
    text.line("StartLimitIntervalSec=0");
    text.line("");
    text.line("[Service]");
    text.line("Type=exec");
    text.line("ExecStart=", daemon);
    text.line("ExecReload=twinspanctl --name ", config.name, " reload");
    text.line("# Started is who answers: by then the interfaces are there that FRR and strongSwan wait for.");
    text.line("ExecStartPost=/bin/sh -c 'n=0; until twinspanctl --name ", config.name,
              " version >/dev/null 2>&1; do n=$$((n+1)); [ $$n -lt 300 ] || exit 1; sleep 0.2; done'");
    if (!config.pools.empty()) {
        text.line("# Over a restart NAT sessions go on by themselves; this is for a reboot.");
        text.line("ExecStop=-twinspanctl --name ", config.name, " save-state");
    }
    text.line("TimeoutStartSec=90");
    text.line("# A refused configuration (2) stays refused until somebody mends it.");
    text.line("Restart=on-failure");
    text.line("RestartSec=200ms");
    text.line("RestartPreventExitStatus=2");
    text.line("RuntimeDirectory=twinspan");
    text.line("RuntimeDirectoryPreserve=yes");
    if (const std::string state = config.state_dir.string(); state.starts_with("/var/lib/")) {
        text.line("StateDirectory=", state.substr(std::string{"/var/lib/"}.size()));
        text.line("StateDirectoryMode=0700");
    }
    text.line("LimitMEMLOCK=infinity");
    text.line("LimitCORE=0");
    text.line("OOMScoreAdjust=-900");
    text.line(
        "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_PERFMON CAP_IPC_LOCK CAP_SYS_NICE "
        "CAP_SYS_ADMIN CAP_SYS_RAWIO CAP_SYS_RESOURCE");
    text.line("NoNewPrivileges=yes");
    text.line("ProtectHome=yes");
    text.line("");
    text.line("[Install]");
    text.line("WantedBy=multi-user.target");
    return text.str();
}

std::string drop_in() {
    return "# Written by twinspanctl render systemd: starts when the data plane's interfaces are there.\n"
           "[Unit]\n"
           "After=twinspand.service\n"
           "Wants=twinspand.service\n";
}

std::string initiated(const Config& config) {
    std::string names;
    for (const TunnelConfig& tunnel : config.tunnels) {
        if (tunnel.ike && tunnel.ike->initiate) {
            names += ' ' + tunnel.name;
        }
    }
    return names;
}

// charon tries for ever while nobody answers, but gives a tunnel up on the first refusal: that of a gateway that has
// just started and has not read its connections yet, for one.
std::string initiator(const Config& config) {
    Text text{0};
    text.line("# Written by twinspanctl render systemd: begins anew with tunnels that strongSwan has given up.");
    text.line("[Unit]");
    text.line("Description=Twinspan ", config.name, ": tunnels without IKE");
    text.line("After=strongswan.service");
    text.line("");
    text.line("[Service]");
    text.line("Type=oneshot");
    text.line("# Absent twice in 3 s, so that one that is just being replaced is left alone.");
    text.line(
        "ExecStart=/bin/sh -c 'swanctl --stats >/dev/null 2>&1 || exit 0; "
        "absent() { ! swanctl --list-sas --ike $$1 | grep -q .; }; for name in",
        initiated(config),
        "; do if absent $$name && sleep 3 && absent $$name; then swanctl --initiate --child $$name --timeout 5; fi; "
        "done; exit 0'");
    return text.str();
}

std::string initiator_timer() {
    return "# Written by twinspanctl render systemd.\n"
           "[Unit]\n"
           "Description=Twinspan: tunnels without IKE, every 10 s\n"
           "\n"
           "[Timer]\n"
           "OnActiveSec=30s\n"
           "OnUnitInactiveSec=10s\n"
           "AccuracySec=1s\n"
           "\n"
           "[Install]\n"
           "WantedBy=timers.target\n";
}

std::string sysctls(const Config& config) {
    Text text{0};
    text.line("# Written by twinspanctl render systemd: what Linux must do beside the data plane.");
    for (const char* setting : kSysctls) {
        text.line(setting);
    }
    if (config.dpdk.hugepages) {
        text.line("# ", config.dpdk.memory_mib, " MiB of hugepages for the data plane, of 2 MiB each. Better on the");
        text.line("# kernel's command line (hugepages=N), where memory is not in pieces yet.");
        text.line("vm.nr_hugepages = ", (config.dpdk.memory_mib + 1) / 2);
    }
    return text.str();
}

// systemd gives meaning to some characters; and the unit's ProtectHome hides some folders from the daemon.
Result<void> check_path(const std::filesystem::path& path) {
    const std::string text = path.string();
    const std::string found = "rendering for systemd: found the path '" + text + "', expected one ";
    if (text.find_first_of(" \t\n%$\"'\\") != std::string::npos) {
        return std::unexpected(Error{found + "without spaces, quotes, % and $"});
    }
    for (const std::string_view home : {"/home/", "/root/", "/run/user/"}) {
        if (text.starts_with(home)) {
            return std::unexpected(Error{found + "outside of " + std::string{home} + ", which the unit does not see"});
        }
    }
    return {};
}

}  // namespace

Result<Files> systemd(const Config& config, const std::filesystem::path& config_file) {
    const std::filesystem::path absolute = std::filesystem::absolute(config_file).lexically_normal();
    for (const std::filesystem::path& path : {absolute, config.state_dir}) {
        if (const auto good = check_path(path); !good) {
            return std::unexpected(good.error());
        }
    }
    Files files{{"systemd/system/twinspand.service", unit(config, absolute), false},
                {"systemd/system/frr.service.d/twinspan.conf", drop_in(), false},
                {"systemd/system/strongswan.service.d/twinspan.conf", drop_in(), false},
                {"sysctl.d/90-twinspan.conf", sysctls(config), false}};
    if (!initiated(config).empty()) {
        files.push_back({"systemd/system/twinspan-ike.service", initiator(config), false});
        files.push_back({"systemd/system/twinspan-ike.timer", initiator_timer(), false});
    }
    return files;
}

}  // namespace twinspan::render

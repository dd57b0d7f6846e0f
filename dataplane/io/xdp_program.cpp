#include "dataplane/io/xdp_program.hpp"

#include "dataplane/xdp/steer.h"

#include <steer.skel.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace twinspan {
namespace {

static_assert(kSteeredNames.size() == STEER_VERDICTS && SteeredTags::kNone == STEER_NO_TAG);
static_assert(static_cast<unsigned>(Steered::no_socket) == STEER_NO_SOCKET);

constexpr std::uint32_t kDeviceBound = 1u << 6;  // BPF_F_XDP_DEV_BOUND_ONLY, which headers before 6.3 lack

std::unexpected<Error> failed(const std::string& what, int code) {
    return std::unexpected(Error{"XDP program: " + what + ": " + std::strerror(code)});
}

constexpr std::uint32_t verdict_of(SteerTo to) noexcept {
    return to == SteerTo::pool ? STEER_POOL : to == SteerTo::encrypt ? STEER_ENCRYPT : STEER_LINUX;
}

steer_prefix key_of(const IpPrefix& prefix) noexcept {
    steer_prefix key{};
    if (prefix.family() == IpFamily::v4) {
        key.length = 96u + prefix.length;
        key.address[10] = key.address[11] = 0xff;
        std::memcpy(key.address + 12, prefix.address.bytes.data(), 4);
    } else {
        key.length = prefix.length;
        std::memcpy(key.address, prefix.address.bytes.data(), sizeof key.address);
    }
    return key;
}

steer_tags key_of(const SteeredTags& tags) noexcept {
    return {.outer_tpid = tags.outer_tpid, .outer_id = tags.outer_id, .inner_id = tags.inner_id, .zero = 0};
}

// libbpf writes to stderr by itself; what matters comes back as an error.
int only_warnings_of_others(enum libbpf_print_level, const char*, va_list) { return 0; }

// Makes the map hold `wanted` when it holds `now`: new keys first, so that nothing falls between.
template <class Key>
Result<void> update(bpf_map* map, std::set<Key>& now, const std::set<Key>& wanted, auto&& raw) {
    const int fd = bpf_map__fd(map);
    constexpr std::uint8_t kPresent = 1;
    for (const Key& key : wanted) {
        if (!now.contains(key)) {
            const auto bytes = raw(key);
            if (bpf_map_update_elem(fd, &bytes, &kPresent, BPF_ANY) != 0) {
                return failed(std::string{"an entry of "} + bpf_map__name(map), errno);
            }
            now.insert(key);
        }
    }
    std::erase_if(now, [&](const Key& key) {
        const auto bytes = raw(key);
        return !wanted.contains(key) && (bpf_map_delete_elem(fd, &bytes) == 0 || errno == ENOENT);
    });
    return {};
}

Result<void> update(bpf_map* map, std::map<IpPrefix, SteerTo>& now, const std::map<IpPrefix, SteerTo>& wanted) {
    const int fd = bpf_map__fd(map);
    for (const auto& [prefix, to] : wanted) {
        if (const auto known = now.find(prefix); known == now.end() || known->second != to) {
            const steer_prefix key = key_of(prefix);
            const std::uint32_t verdict = verdict_of(to);
            if (bpf_map_update_elem(fd, &key, &verdict, BPF_ANY) != 0) {
                return failed("prefix " + prefix.text(), errno);
            }
            now.insert_or_assign(prefix, to);
        }
    }
    std::erase_if(now, [&](const auto& entry) {
        const steer_prefix key = key_of(entry.first);
        return !wanted.contains(entry.first) && (bpf_map_delete_elem(fd, &key) == 0 || errno == ENOENT);
    });
    return {};
}

}  // namespace

void XdpProgram::Close::operator()(steer* object) const noexcept { steer__destroy(object); }
XdpProgram::XdpProgram(steer* object) noexcept : object_(object) {}
XdpProgram::XdpProgram(XdpProgram&&) noexcept = default;
XdpProgram& XdpProgram::operator=(XdpProgram&&) noexcept = default;
XdpProgram::~XdpProgram() = default;

Result<XdpProgram> XdpProgram::load(const Options& options) {
    libbpf_set_print(only_warnings_of_others);
    XdpProgram self{steer__open()};
    if (self.object_ == nullptr) {
        return failed("opening it", errno);
    }
    steer& object = *self.object_;
    std::ranges::copy(options.mac, object.rodata->own_mac);
    const bool bound = options.bound_to != 0;
    bpf_program* program = bound ? object.progs.twinspan_steer_vlan : object.progs.twinspan_steer;
    bpf_program__set_autoload(bound ? object.progs.twinspan_steer : object.progs.twinspan_steer_vlan, false);
    if (bound) {
        bpf_program__set_ifindex(program, options.bound_to);
        bpf_program__set_flags(program, bpf_program__flags(program) | kDeviceBound);
    }
    if (options.sockets_map >= 0 && bpf_map__reuse_fd(object.maps.xsks_map, options.sockets_map) != 0) {
        return failed("taking over the sockets of DPDK's driver", errno);
    }
    if (const int rc = steer__load(&object); rc != 0) {
        return failed("loading it (CAP_BPF and CAP_NET_ADMIN are needed)", -rc);
    }
    self.program_ = bpf_program__fd(program);
    return self;
}

Result<void> XdpProgram::set(const Steering& wanted) {
    std::map<IpPrefix, SteerTo> prefixes;
    for (const SteeredPrefix& p : wanted.prefixes) {
        prefixes.insert_or_assign(p.prefix, p.to);
    }
    std::set<std::uint32_t> addresses;
    std::ranges::transform(wanted.tunnel_addresses, std::inserter(addresses, addresses.end()), &be32::raw);
    const std::set<SteeredTags> tags{wanted.tags.begin(), wanted.tags.end()};
    const auto as_it_is = [](std::uint32_t address) { return address; };
    const auto tag_key = [](const SteeredTags& t) { return key_of(t); };
    Result<void> done = update(object_->maps.prefixes, prefixes_, prefixes);
    if (done) {
        done = update(object_->maps.tunnel_addresses, tunnel_addresses_, addresses, as_it_is);
    }
    return done ? update(object_->maps.tags, tags_, tags, tag_key) : done;
}

SteeringCounters XdpProgram::counters() const {
    SteeringCounters sum;
    std::vector<std::uint64_t> per_cpu(static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
    for (std::uint32_t i = 0; i < sum.frames.size(); ++i) {
        if (bpf_map_lookup_elem(bpf_map__fd(object_->maps.verdicts), &i, per_cpu.data()) == 0) {
            for (const std::uint64_t count : per_cpu) {
                sum.frames[i] += count;
            }
        }
    }
    return sum;
}

int XdpProgram::sockets_map() const noexcept { return bpf_map__fd(object_->maps.xsks_map); }

}  // namespace twinspan

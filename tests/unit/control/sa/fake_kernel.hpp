// Linux's SAs as NETLINK_XFRM shows them, at the boundary where the store asks: with Linux's two forms of replay state,
// what it ignores without a word, and what it refuses.
#pragma once

#include "control/netlink/xfrm_kernel.hpp"
#include "control/netlink/xfrm_types.hpp"

#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace twinspan::test {

struct FakeSa {
    netlink::SaId id;
    IpAddress source;
    std::uint32_t if_id = 1;
    bool outbound = false;
    bool esn = false;
    std::uint8_t key = 1;  // fills the key
    std::size_t key_bytes = 36;
    std::string cipher = "rfc4106(gcm(aes))";
    std::string integrity;
    std::size_t integrity_bytes = 0;  // of the key's
    std::uint32_t icv_bits = 128;
    netlink::SaEncapsulation encapsulation;
    netlink::SaMode mode = netlink::SaMode::tunnel;
    netlink::SaLimits limits;
    netlink::SaLifetime lifetime;
    netlink::SaReplay replay;
};

class FakeKernel : public netlink::XfrmKernel {
public:
    std::map<netlink::SaId, FakeSa> sas;
    std::vector<std::pair<netlink::SaId, bool>> expired;  // as told: id, hard
    bool refuse_writes = false;
    std::set<netlink::SaId> refuse_writes_of;
    bool refuse_expires = false;
    std::function<void()> on_question = [] {};
    unsigned writes = 0;

    FakeSa& add(std::uint32_t spi, bool outbound, std::uint8_t key, std::uint64_t add_time) {
        const IpAddress local = IpAddress::parse("203.0.113.1").value();
        const IpAddress remote = IpAddress::parse("20.51.0.4").value();
        FakeSa sa;
        sa.id = {.destination = outbound ? remote : local, .spi = spi};
        sa.source = outbound ? local : remote;
        sa.outbound = outbound;
        sa.key = key;
        sa.lifetime.add_time = add_time;
        if (outbound) {
            sa.replay = {.extended = false, .sent = 0, .highest = 0, .window = 0, .bitmap = {0}};
        } else {
            sa.replay = {.extended = true, .sent = 0, .highest = 0, .window = 128, .bitmap = {0, 0, 0, 0}};
        }
        return sas[sa.id] = sa;
    }

    netlink::SaEvent event(const FakeSa& sa) const {
        netlink::SaEvent event;
        event.id = sa.id;
        event.source = sa.source;
        event.if_id = sa.if_id;
        event.direction = sa.outbound ? netlink::SaDirection::out : netlink::SaDirection::in;
        event.mode = sa.mode;
        event.esn = sa.esn;
        event.algorithms.cipher = sa.cipher;
        event.algorithms.keymat = SecretBytes(sa.key_bytes);
        std::fill_n(event.algorithms.keymat.data(), sa.key_bytes, sa.key);
        event.algorithms.integrity = sa.integrity;
        event.algorithms.integrity_key_bytes = sa.integrity_bytes;
        event.algorithms.icv_bits = sa.icv_bits;
        event.encapsulation = sa.encapsulation;
        event.limits = sa.limits;
        event.lifetime = sa.lifetime;
        event.replay = sa.replay;
        return event;
    }

    netlink::Answer<netlink::SaCheckpoint> read(const netlink::SaId& id) override {
        on_question();
        const auto sa = sas.find(id);
        if (sa == sas.end()) {
            return std::unexpected(netlink::KernelRefusal{ESRCH, "no such SA"});
        }
        return netlink::SaCheckpoint{id, sa->second.replay, sa->second.lifetime};
    }

    netlink::Answer<void> write(const netlink::SaCheckpoint& checkpoint) override {
        on_question();
        ++writes;
        const auto sa = sas.find(checkpoint.id);
        if (sa == sas.end()) {
            return std::unexpected(netlink::KernelRefusal{ESRCH, "no such SA"});
        }
        if (refuse_writes || refuse_writes_of.contains(checkpoint.id)) {
            return std::unexpected(netlink::KernelRefusal{EINVAL, "refused"});
        }
        netlink::SaReplay& kept = sa->second.replay;
        if (checkpoint.replay && checkpoint.replay->extended == kept.extended) {
            if (checkpoint.replay->bitmap.size() != kept.bitmap.size()) {
                return std::unexpected(netlink::KernelRefusal{EINVAL, "length of the bitmap"});
            }
            kept = *checkpoint.replay;
        }
        if (checkpoint.lifetime) {
            sa->second.lifetime = *checkpoint.lifetime;
        }
        return {};
    }

    netlink::Answer<void> expire(const netlink::SaId& id, bool hard) override {
        if (!sas.contains(id)) {
            return std::unexpected(netlink::KernelRefusal{ESRCH, "no such SA"});
        }
        if (refuse_expires) {
            return std::unexpected(netlink::KernelRefusal{ENOBUFS, "refused"});
        }
        expired.emplace_back(id, hard);
        if (hard) {
            sas.erase(id);
        }
        return {};
    }
};

// The store owns its kernel; a test's lives on.
class SharedKernel : public netlink::XfrmKernel {
public:
    explicit SharedKernel(FakeKernel& kernel) : kernel_(kernel) {}
    netlink::Answer<netlink::SaCheckpoint> read(const netlink::SaId& id) override { return kernel_.read(id); }
    netlink::Answer<void> write(const netlink::SaCheckpoint& c) override { return kernel_.write(c); }
    netlink::Answer<void> expire(const netlink::SaId& id, bool hard) override { return kernel_.expire(id, hard); }

private:
    FakeKernel& kernel_;
};

}  // namespace twinspan::test

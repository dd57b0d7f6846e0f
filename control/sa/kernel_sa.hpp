// One SA of Linux, carried by the data plane: made from what Linux has, and written back there, so that a restart after
// a crash goes on with numbers that were never used. Control thread only.
#pragma once

#include "control/netlink/xfrm_kernel.hpp"
#include "control/sa/lifetime.hpp"
#include "control/sa/match.hpp"
#include "crypto/sa.hpp"
#include "crypto/sequence_reservation.hpp"
#include "dataplane/config/snapshot.hpp"

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>

namespace twinspan {

class KernelSa {
public:
    // Reads the SA's numbers from Linux at this moment, as what an event says of them may be old; of an inbound SA only
    // when something was received. `config` and its fingerprint `key` are the event's. `first_at_least`: below it,
    // numbers were used already. An outbound SA sends nothing before reserve().
    static std::expected<std::unique_ptr<KernelSa>, std::string> make(const Engine& engine, netlink::XfrmKernel& kernel,
                                                                      netlink::SaEvent& event, const SaMatch& match,
                                                                      const SaConfig& config, const KeyFingerprint& key,
                                                                      std::uint64_t first_at_least);

    // What Linux may change of an SA that it keeps.
    void update(const netlink::SaEvent& event) noexcept;

    // Outbound: has Linux cover more numbers when few are left, and only then lets workers use them.
    netlink::Answer<void> reserve(netlink::XfrmKernel& kernel);
    // Outbound, when Linux says that its number is `sent`: if that is behind what was reserved, writes it again.
    netlink::Answer<void> reassert(netlink::XfrmKernel& kernel, std::uint64_t sent);
    bool has_changed() const noexcept;  // since the last checkpoint
    // Writes counters, and inbound the replay window. Nothing to write: no request.
    netlink::Answer<void> checkpoint(netlink::XfrmKernel& kernel, std::uint64_t now_s);
    // When no worker uses it: gives back the numbers that were not used, with the counters. reserve() takes it up
    // again.
    netlink::Answer<void> give_back(netlink::XfrmKernel& kernel, std::uint64_t now_s);

    // The limit that its usage, or the sequence number, has reached.
    SaLimit limit_reached() const noexcept;
    // Total, with what Linux had counted before.
    SaUsage usage() const noexcept;
    // The first number that no one has used, of an outbound SA.
    std::uint64_t next_seq() const noexcept { return out_ ? out_->next_seq() : 0; }

    // Outbound: Linux covers no number that is left.
    bool dry() const noexcept { return out_ && out_->next_seq() >= reserved_until_; }

    // Outbound: workers may send with it, or could when Linux covers more numbers.
    bool can_send() const noexcept { return out_ && usable && out_->next_seq() < out_->end_of_sequence(); }

    const netlink::SaId& id() const noexcept { return id_; }
    std::size_t tunnel() const noexcept { return tunnel_; }
    OutboundSa* out() const noexcept { return out_.get(); }
    InboundSa* in() const noexcept { return in_.get(); }
    const Encapsulation& encapsulation() const noexcept { return encapsulation_; }
    const KeyFingerprint& key() const noexcept { return key_; }
    // An event that says this is about the same SA.
    bool is(const SaMatch& match, const KeyFingerprint& key) const noexcept {
        return key_ == key && (out_ != nullptr) == match.outbound && tunnel_ == match.tunnel;
    }
    // Linux's: the other side's address.
    const IpAddress& peer() const noexcept { return peer_; }
    EspLayout layout() const noexcept { return out_ ? out_->layout() : in_->layout(); }
    const netlink::SaLimits& limits() const noexcept { return limits_; }
    const netlink::SaLifetime& base() const noexcept { return base_; }

    // Kept by the store.
    SaLimit told = SaLimit::none;  // the key daemon knows of this limit
    bool usable = true;  // outbound: no hard limit is reached
    bool worn_out = false;  // outbound: it went dry in use
    std::uint64_t quiet_until = 0;  // tick of the next line on a refused write
    bool seen = true;  // in the dump under way
    bool audited = true;  // in the audit under way
    std::uint64_t since_tick = 0;  // outbound: when it was added
    bool released = false;  // outbound: no longer in use, with numbers to give back

private:
    KernelSa() = default;
    netlink::SaCheckpoint counters(std::uint64_t now_s) const;
    netlink::Answer<void> cover(netlink::XfrmKernel& kernel, std::uint64_t limit);
    netlink::Answer<void> check_alone(netlink::XfrmKernel& kernel) const;
    netlink::Answer<void> write_sent(netlink::XfrmKernel& kernel, std::uint64_t sent,
                                     const std::optional<netlink::SaLifetime>& lifetime);

    netlink::SaId id_;
    std::size_t tunnel_ = 0;
    KeyFingerprint key_{};
    std::unique_ptr<OutboundSa> out_;
    std::unique_ptr<InboundSa> in_;
    Encapsulation encapsulation_;
    IpAddress peer_;
    netlink::SaLimits limits_;
    netlink::SaReplay form_;  // as Linux had it at the start: which form, and how large
    netlink::SaLifetime base_;
    std::optional<SequencePace> pace_;
    std::uint64_t reserved_until_ = 0;
    std::uint64_t most_written_ = 0;  // Linux's number is not past it, unless somebody else sends over the SA
    bool verified_ = false;  // Linux was seen to keep what it takes
    SaUsage written_;
    std::uint64_t written_highest_ = 0;
};

}  // namespace twinspan

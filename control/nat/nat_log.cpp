#include "control/nat/nat_log.hpp"

#include <algorithm>
#include <utility>

namespace twinspan {
namespace {

constexpr NatEventMask kMappingEvents =
    nat_event_bit(NatEventKind::mapping_created) | nat_event_bit(NatEventKind::mapping_ended);

}  // namespace

NatEventMask wanted_events(const NatLogConfig& config) noexcept {
    NatEventMask mask = kNatPoolEvents & ~kMappingEvents;
    mask |= config.sessions ? kNatSessionEvents : 0;
    mask |= config.mappings ? kMappingEvents : 0;
    return mask;
}

NatLog::NatLog(const NatLogConfig& config, Take take, Metrics& metrics)
    : config_(config), take_(std::move(take)), metrics_(metrics), collector_(config.collector), tokens_(config.rate) {}

void NatLog::follow(const NatLogConfig& config) {
    if (config.collector != config_.collector) {
        collector_.move_to(config.collector);
    }
    config_ = config;
    tokens_ = std::min<std::uint64_t>(tokens_, config.rate);
}

void NatLog::add(const NatEvent& event) {
    if (own_.size() < kMostOwn) {
        own_.push_back(event);
    } else {
        ++unsent_;
    }
}

void NatLog::tick(Time now, std::chrono::system_clock::time_point wall) {
    now_ = now;
    export_seconds_ =
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(wall.time_since_epoch()).count());
    refill(now);
    if (collector_.ready(now)) {  // else events wait where they are
        for (const NatEvent& event : std::exchange(own_, {})) {
            log(event);
        }
        take_(kMostAtOnce, [this](const NatEvent& event) { log(event); });
        begin_message();  // templates may be due without an event
        if (!message_.empty()) {
            send();
        }
    }
    metrics_.set(Metric::nat_log_connections, collector_.connections());
    metrics_.set(Metric::nat_log_connected, collector_.connected() ? 1 : 0);
    metrics_.set(Metric::nat_log_unsent, unsent_ + collector_.lost());
}

void NatLog::refill(Time now) {
    if (refilled_ == Time{}) {
        refilled_ = now;
        return;
    }
    const auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(now - refilled_);
    const auto due = static_cast<std::uint64_t>(elapsed.count()) * config_.rate / 1'000'000;
    if (due != 0) {
        tokens_ = std::min<std::uint64_t>(tokens_ + due, config_.rate);
        refilled_ += std::chrono::microseconds{due * 1'000'000 / config_.rate};
    }
}

// The rate bounds what grows with traffic; the rest is limited where it is made.
void NatLog::log(const NatEvent& event) {
    if ((nat_event_bit(event.kind) & (kNatSessionEvents | kMappingEvents)) != 0) {
        if (tokens_ == 0) {
            metrics_.add(Metric::nat_log_limited);
            return;
        }
        --tokens_;
    }
    begin_message();
    if (!message_.add(event)) {
        send();
        begin_message();
        message_.add(event);
    }
}

// RFC 7011 section 8: over UDP templates are told again and again, over TCP once for each connection.
void NatLog::begin_message() {
    if (!message_.empty()) {
        return;
    }
    message_.limit(collector_.most_bytes());
    const bool stream = config_.collector.transport == IpfixTransport::tcp;
    const bool anew = epoch_ != collector_.epoch();
    if (anew && stream) {
        sequence_ = 0;
    }
    if (anew || (!stream && (since_templates_ >= config_.refresh_messages ||
                             now_ - templates_at_ >= std::chrono::seconds{config_.refresh_seconds}))) {
        message_.add_templates();
        epoch_ = collector_.epoch();
        templates_at_ = now_;
        since_templates_ = 0;
    }
}

// What could not be sent counts in the sequence, so that the collector sees that it is missing.
void NatLog::send() {
    const std::uint32_t records = message_.records();
    if (collector_.send(message_.finish(export_seconds_, sequence_, config_.domain), records)) {
        metrics_.add(Metric::nat_log_messages);
        metrics_.add(Metric::nat_log_records, records);
    } else {
        unsent_ += records;
    }
    sequence_ += records;
    ++since_templates_;
    message_.clear();
}

}  // namespace twinspan

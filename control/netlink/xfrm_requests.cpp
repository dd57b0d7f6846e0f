#include "control/netlink/xfrm_requests.hpp"

#include "control/netlink/answer.hpp"
#include "control/netlink/xfrm_decode.hpp"

#include <libmnl/libmnl.h>
#include <linux/in.h>
#include <linux/xfrm.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace twinspan::netlink {

namespace {

// The longest replay bitmap that Linux has (XFRMA_REPLAY_ESN_MAX), and the rest.
constexpr std::size_t kRequestBytes = XFRMA_REPLAY_ESN_MAX / 8 + 1024;

std::uint16_t af(IpFamily family) noexcept { return family == IpFamily::v4 ? AF_INET : AF_INET6; }

void put_address(xfrm_address_t& to, const IpAddress& address) noexcept {
    std::memcpy(&to, address.bytes.data(), sizeof to);
}

__be32 spi_of(const SaId& id) noexcept { return __builtin_bswap32(id.spi); }

}  // namespace

struct XfrmRequests::Builder {
    Builder(std::uint16_t type, std::uint16_t flags) : header(mnl_nlmsg_put_header(storage.data())) {
        header->nlmsg_type = type;
        header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    }
    template <class T>
    T& fixed() {
        return *static_cast<T*>(mnl_nlmsg_put_extra_header(header, sizeof(T)));
    }
    void aevent(const SaId& id, std::uint32_t flags) {
        auto& body = fixed<xfrm_aevent_id>();
        put_address(body.sa_id.daddr, id.destination);
        body.sa_id.spi = spi_of(id);
        body.sa_id.family = af(id.destination.family);
        body.sa_id.proto = IPPROTO_ESP;
        body.flags = flags;
        mark(id);
    }
    void mark(const SaId& id) {
        if (id.mark_mask != 0) {
            const xfrm_mark value{id.mark, id.mark_mask};
            mnl_attr_put(header, XFRMA_MARK, sizeof value, &value);
        }
    }
    void replay(const SaReplay& state) {
        if (!state.extended) {
            const xfrm_replay_state raw{static_cast<std::uint32_t>(state.sent),
                                        static_cast<std::uint32_t>(state.highest),
                                        state.bitmap.empty() ? 0 : state.bitmap.front()};
            mnl_attr_put(header, XFRMA_REPLAY_VAL, sizeof raw, &raw);
            return;
        }
        xfrm_replay_state_esn raw{};
        raw.bmp_len = static_cast<std::uint32_t>(state.bitmap.size());
        raw.oseq = static_cast<std::uint32_t>(state.sent);
        raw.oseq_hi = static_cast<std::uint32_t>(state.sent >> 32);
        raw.seq = static_cast<std::uint32_t>(state.highest);
        raw.seq_hi = static_cast<std::uint32_t>(state.highest >> 32);
        raw.replay_window = state.window;
        std::array<std::byte, sizeof raw + XFRMA_REPLAY_ESN_MAX / 8> value;
        const std::size_t words = state.bitmap.size() * sizeof(std::uint32_t);
        std::memcpy(value.data(), &raw, sizeof raw);
        if (words != 0) {
            std::memcpy(value.data() + sizeof raw, state.bitmap.data(), words);
        }
        mnl_attr_put(header, XFRMA_REPLAY_ESN_VAL, sizeof raw + words, value.data());
    }

    alignas(nlmsghdr) std::array<std::byte, kRequestBytes> storage{};
    nlmsghdr* header;
};

Result<XfrmRequests> XfrmRequests::open() {
    Result<Socket> socket = Socket::open_xfrm();
    if (!socket) {
        return std::unexpected(socket.error());
    }
    return XfrmRequests{std::move(*socket)};
}

Answer<Message> XfrmRequests::ask(Builder& request, const std::string& what) {
    const auto refused = [&](int code, const std::string& why) {
        return std::unexpected(KernelRefusal{code, what + ": " + why});
    };
    request.header->nlmsg_seq = ++sequence_;
    if (const auto sent = socket_.send(std::span<const std::byte>(request.storage).first(request.header->nlmsg_len));
        !sent) {
        return refused(EIO, sent.error().what);
    }
    const auto answer = await_answer(socket_, buffer_, sequence_);
    if (!answer) {
        return refused(answer.error().code, answer.error().why);
    }
    if (decode_header(*answer)->type != NLMSG_ERROR) {
        return *answer;
    }
    const Result<int> error = decode_error(*answer);
    if (!error) {
        return refused(EBADMSG, error.error().what);
    }
    return *error != 0 ? Answer<Message>{refused(*error, std::strerror(*error))} : Answer<Message>{*answer};
}

Answer<SaCheckpoint> XfrmRequests::read(const SaId& id) {
    Builder request(XFRM_MSG_GETAE, 0);
    request.aevent(id, XFRM_AE_RVAL | XFRM_AE_LVAL);
    const std::string what = "reading the state of " + id.text();
    const Answer<Message> answer = ask(request, what);
    if (!answer) {
        return std::unexpected(answer.error());
    }
    auto event = decode_xfrm(*answer);
    if (!event || !*event || !std::holds_alternative<SaCheckpoint>(**event)) {
        return std::unexpected(KernelRefusal{EBADMSG, what + ": " + (event ? "another answer" : event.error().what)});
    }
    return std::get<SaCheckpoint>(std::move(**event));
}

Answer<void> XfrmRequests::write(const SaCheckpoint& checkpoint) {
    const std::string what = "writing the state of " + checkpoint.id.text();
    if (checkpoint.replay && checkpoint.replay->bitmap.size() > XFRMA_REPLAY_ESN_MAX / 32) {
        return std::unexpected(KernelRefusal{EINVAL, what + ": the replay window is longer than Linux's"});
    }
    // Without NLM_F_REPLACE Linux refuses all of them.
    Builder request(XFRM_MSG_NEWAE, NLM_F_REPLACE | NLM_F_ACK);
    request.aevent(checkpoint.id, 0);
    if (checkpoint.replay) {
        request.replay(*checkpoint.replay);
    }
    if (checkpoint.lifetime) {
        const SaLifetime& life = *checkpoint.lifetime;
        const xfrm_lifetime_cur raw{life.bytes, life.packets, life.add_time, life.use_time};
        mnl_attr_put(request.header, XFRMA_LTIME_VAL, sizeof raw, &raw);
    }
    const Answer<Message> answer = ask(request, what);
    return answer ? Answer<void>{} : std::unexpected(answer.error());
}

Answer<void> XfrmRequests::expire(const SaId& id, bool hard) {
    Builder request(XFRM_MSG_EXPIRE, NLM_F_ACK);
    auto& body = request.fixed<xfrm_user_expire>();
    put_address(body.state.id.daddr, id.destination);
    body.state.id.spi = spi_of(id);
    body.state.id.proto = IPPROTO_ESP;
    body.state.family = af(id.destination.family);
    body.state.mode = XFRM_MODE_TUNNEL;
    body.hard = hard ? 1 : 0;
    request.mark(id);
    const Answer<Message> answer =
        ask(request, std::string{"telling that a "} + (hard ? "hard" : "soft") + " limit is reached of " + id.text());
    return answer ? Answer<void>{} : std::unexpected(answer.error());
}

}  // namespace twinspan::netlink

// Divides the frames of a NIC between Linux and the workers' AF_XDP sockets. What is not recognised, not complete or
// not for this station's MAC address stays with Linux.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "dataplane/xdp/steer.h"

enum {
    vid_mask = 0x0fff,
    fragment_offset_mask = 0x1fff,
    more_fragments = 0x2000,
    nat_t_port = 4500,          // RFC 3948 section 2.1
    non_esp_marker_bytes = 4,   // RFC 3948 section 2.2; also the SPI of ESP
    platform_address = 0xa83f8110,  // 168.63.129.16: Azure's DHCP, DNS and health probes
};

struct vlan_tag {
    __be16 tci;
    __be16 type;  // of what follows
};

// Set before loading.
const volatile __u8 own_mac[ETH_ALEN];

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, STEER_QUEUES);
    __type(key, __u32);
    __type(value, __u32);
} xsks_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, STEER_TUNNEL_ADDRESSES);
    __type(key, __be32);
    __type(value, __u8);
} tunnel_addresses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, STEER_PREFIXES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct steer_prefix);
    __type(value, __u32);  // enum steer_verdict
} prefixes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, STEER_TAGS);
    __type(key, struct steer_tags);
    __type(value, __u8);
} tags SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, STEER_VERDICTS);
    __type(key, __u32);
    __type(value, __u64);
} verdicts SEC(".maps");

// Of kernel 6.8 and later, and only for a program that is bound to its device.
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md* ctx, __be16* tpid, __u16* tci) __ksym __weak;

static __always_inline int count(enum steer_verdict verdict, int action) {
    __u32 key = verdict;
    __u64* counter = bpf_map_lookup_elem(&verdicts, &key);
    if (counter)
        ++*counter;
    return action;
}

static __always_inline int is_vlan(__be16 type) {
    return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline int is_for_us(const struct ethhdr* eth) {
    for (int i = 0; i < ETH_ALEN; ++i)
        if (eth->h_dest[i] != own_mac[i])
            return 0;
    return 1;
}

static __always_inline enum steer_verdict verdict_of(const struct steer_prefix* host) {
    const __u32* verdict = bpf_map_lookup_elem(&prefixes, host);
    return verdict ? *verdict : STEER_LINUX;
}

// To a tunnel's local address. IKE and keepalives are Linux's. A fragment without the UDP header cannot be judged; the
// one with it is taken, also where it ends before the marker, so that Linux never completes a datagram with ESP and
// decrypts it past the workers.
static __always_inline enum steer_verdict judge_udp(const struct iphdr* ip, const void* end) {
    const struct udphdr* udp = (const void*)ip + ip->ihl * 4;
    const __be32* payload = (const void*)(udp + 1);
    if ((const void*)payload > end || udp->dest != bpf_htons(nat_t_port))
        return STEER_LINUX;
    const int there = bpf_ntohs(ip->tot_len) - ip->ihl * 4;
    if ((ip->frag_off & bpf_htons(more_fragments)) && there < (int)sizeof(*udp) + non_esp_marker_bytes)
        return STEER_ESP_IN_UDP;
    if ((const void*)(payload + 1) > end)
        return STEER_LINUX;
    if (bpf_ntohs(udp->len) < sizeof(*udp) + non_esp_marker_bytes || *payload == 0)
        return STEER_LINUX;
    return STEER_ESP_IN_UDP;
}

static __always_inline enum steer_verdict judge_ipv4(const void* at, const void* end) {
    const struct iphdr* ip = at;
    if ((const void*)(ip + 1) > end || ip->version != 4 || ip->ihl < 5 || ip->saddr == bpf_htonl(platform_address))
        return STEER_LINUX;
    __be32 destination = ip->daddr;
    if (bpf_map_lookup_elem(&tunnel_addresses, &destination)) {
        if (ip->protocol == IPPROTO_ESP)
            return STEER_ESP;
        if (ip->protocol == IPPROTO_UDP && !(ip->frag_off & bpf_htons(fragment_offset_mask)))
            return judge_udp(ip, end);
        return STEER_LINUX;
    }
    struct steer_prefix host = {.length = 128, .address = {[10] = 0xff, [11] = 0xff}};
    __builtin_memcpy(host.address + 12, &destination, sizeof(destination));
    return verdict_of(&host);
}

static __always_inline enum steer_verdict judge_ipv6(const void* at, const void* end) {
    const struct ipv6hdr* ip = at;
    if ((const void*)(ip + 1) > end || ip->version != 6)
        return STEER_LINUX;
    struct steer_prefix host = {.length = 128};
    __builtin_memcpy(host.address, &ip->daddr, sizeof(host.address));
    return verdict_of(&host);
}

// `stripped`: the outer tag that the NIC took off, tpid 0 if none. A tagged frame is judged by its tags alone.
static __always_inline enum steer_verdict judge(const struct xdp_md* ctx, __be16 stripped_tpid, __u16 stripped_tci) {
    const void* data = (const void*)(long)ctx->data;
    const void* end = (const void*)(long)ctx->data_end;
    const struct ethhdr* eth = data;
    if ((const void*)(eth + 1) > end)
        return STEER_LINUX;
    struct steer_tags key = {.inner_id = STEER_NO_TAG};
    const void* at = eth + 1;
    __be16 type = eth->h_proto;
    if (stripped_tpid) {
        key.outer_tpid = bpf_ntohs(stripped_tpid);
        key.outer_id = stripped_tci & vid_mask;
    } else if (is_vlan(type)) {
        const struct vlan_tag* tag = at;
        if ((const void*)(tag + 1) > end)
            return STEER_LINUX;
        key.outer_tpid = bpf_ntohs(type);
        key.outer_id = bpf_ntohs(tag->tci) & vid_mask;
        type = tag->type;
        at = tag + 1;
    }
    if (key.outer_tpid) {
        if (is_vlan(type)) {
            const struct vlan_tag* tag = at;
            if ((const void*)(tag + 1) > end || type != bpf_htons(ETH_P_8021Q) || is_vlan(tag->type))
                return STEER_LINUX;
            key.inner_id = bpf_ntohs(tag->tci) & vid_mask;
        }
        return bpf_map_lookup_elem(&tags, &key) ? STEER_TAG : STEER_LINUX;
    }
    if (!is_for_us(eth))
        return STEER_LINUX;
    if (type == bpf_htons(ETH_P_IP))
        return judge_ipv4(at, end);
    return type == bpf_htons(ETH_P_IPV6) ? judge_ipv6(at, end) : STEER_LINUX;
}

// Puts the outer tag back into the frame: a socket gets the frame and nothing beside it.
static __always_inline int push_tag(struct xdp_md* ctx, __be16 tpid, __u16 tci) {
    if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct vlan_tag)) != 0)
        return 0;
    __u8* data = (__u8*)(long)ctx->data;
    if (data + sizeof(struct ethhdr) + sizeof(struct vlan_tag) > (__u8*)(long)ctx->data_end)
        return 0;
    __builtin_memmove(data, data + sizeof(struct vlan_tag), 2 * ETH_ALEN);
    __be16 fields[2] = {tpid, bpf_htons(tci)};
    __builtin_memcpy(data + 2 * ETH_ALEN, fields, sizeof(fields));
    return 1;
}

static __always_inline int steer(struct xdp_md* ctx, __be16 stripped_tpid, __u16 stripped_tci) {
    const enum steer_verdict verdict = judge(ctx, stripped_tpid, stripped_tci);
    if (verdict == STEER_LINUX)
        return count(STEER_LINUX, XDP_PASS);
    __u32 queue = ctx->rx_queue_index;
    if (!bpf_map_lookup_elem(&xsks_map, &queue))  // Linux could forward it in clear
        return count(STEER_NO_SOCKET, verdict == STEER_ENCRYPT ? XDP_DROP : XDP_PASS);
    if (stripped_tpid && !push_tag(ctx, stripped_tpid, stripped_tci))
        return count(STEER_NO_SOCKET, XDP_PASS);
    return count(verdict, bpf_redirect_map(&xsks_map, queue, XDP_PASS));
}

SEC("xdp")
int twinspan_steer(struct xdp_md* ctx) { return steer(ctx, 0, 0); }

// The same where the driver can say which tag it took off.
SEC("xdp")
int twinspan_steer_vlan(struct xdp_md* ctx) {
    __be16 tpid = 0;
    __u16 tci = 0;
    if (bpf_xdp_metadata_rx_vlan_tag(ctx, &tpid, &tci) != 0)
        tpid = 0;
    return steer(ctx, tpid, tci);
}

char license_[] SEC("license") = "Dual BSD/GPL";

// What the lab's MSEEs need to speak 802.1Q on a kernel that has no VLAN devices: a trunk whose tags are popped and
// pushed by tc. The interface numbers are fixed by labkit/topology.py: the routed interface of VLAN n has ifindex n
// and its back end 1000 + n, so the programs need no map and no loader but tc.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
    trunk_ifindex = 10,
    back_end_offset = 1000,
    vid_mask = 0x0fff,
};

// Trunk, ingress. The kernel has already moved the outer tag from the frame into skb->vlan_tci.
SEC("tc/pop")
int pop_tag(struct __sk_buff* skb) {
    if (!skb->vlan_present || skb->vlan_proto != bpf_htons(ETH_P_8021Q))
        return TC_ACT_SHOT;
    __u32 vid = skb->vlan_tci & vid_mask;
    if (vid != 100 && vid != 200 && vid != 300)
        return TC_ACT_SHOT;
    if (bpf_skb_vlan_pop(skb) != 0)
        return TC_ACT_SHOT;
    return bpf_redirect(vid, BPF_F_INGRESS);
}

// Back end of a routed interface, ingress: what the router sends out of VLAN n.
SEC("tc/push")
int push_tag(struct __sk_buff* skb) {
    __u16 vid = (__u16)(skb->ifindex - back_end_offset);
    if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), vid) != 0)
        return TC_ACT_SHOT;
    return bpf_redirect(trunk_ifindex, 0);
}

// Port of a twinspand, ingress: packet sockets have taken their copy by now, and the kernel must not see the frame too.
SEC("tc/drop")
int drop_all(struct __sk_buff* skb) {
    (void)skb;
    return TC_ACT_SHOT;
}

char license_[] SEC("license") = "Dual BSD/GPL";

// What DPDK's AF_XDP driver is given to load: the map that it puts its sockets into, and a program that leaves every
// frame with Linux. The driver attaches it in a way that outlives the process, so nothing may depend on what it does;
// it is replaced by steer.bpf.c before the port starts.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "dataplane/xdp/steer.h"

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, STEER_QUEUES);
    __type(key, __u32);
    __type(value, __u32);
} xsks_map SEC(".maps");  // the name that the driver looks for

SEC("xdp")
int twinspan_pass(struct xdp_md* ctx) {
    // Used, so that the loaded program tells its id.
    __u32 queue = ctx->rx_queue_index;
    bpf_map_lookup_elem(&xsks_map, &queue);
    return XDP_PASS;
}

char license_[] SEC("license") = "Dual BSD/GPL";

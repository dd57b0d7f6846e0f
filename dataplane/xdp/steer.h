/* What the XDP program and its loader (dataplane/io/xdp_steering.cpp) agree on. C, and nothing but types. */
#pragma once

#include <linux/types.h>

/* Why a frame went where it went: the index of its counter. */
enum steer_verdict {
    STEER_LINUX,      /* nothing of ours: XDP_PASS */
    STEER_ESP,        /* to a tunnel's local address */
    STEER_ESP_IN_UDP, /* RFC 3948, to a tunnel's local address */
    STEER_POOL,       /* to an address of a NAT pool */
    STEER_ENCRYPT,    /* to a prefix under `encrypt:` */
    STEER_TAG,        /* with the VLAN tags of a leg */
    STEER_NO_SOCKET,  /* ours, but its receive queue has no socket: XDP_PASS; XDP_DROP under `encrypt:` */
    STEER_VERDICTS
};

enum {
    STEER_QUEUES = 64,
    STEER_TUNNEL_ADDRESSES = 1024,
    STEER_PREFIXES = 16384,
    STEER_TAGS = 4096,
};

/* IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that one trie serves both families. */
struct steer_prefix {
    __u32 length; /* in bits, of 128 */
    __u8 address[16];
};

/* Identifiers in host order. */
struct steer_tags {
    __u16 outer_tpid;
    __u16 outer_id;
    __u16 inner_id; /* STEER_NO_TAG: one tag only */
    __u16 zero;
};
#define STEER_NO_TAG 0xffff

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The peer filter: on the underlay NIC, VXLAN frames of our networks (VNIs) come in only from the
 * hosts that belong to the network. A vxlan device itself accepts them from anybody, so without it a
 * failed host that wakes up would still be heard. Everything else goes on untouched.
 *
 * Where the VNI cannot be read:
 *  - later fragments of a datagram pass: they are nothing without the first, which is judged;
 *  - a first fragment to the VXLAN port that ends before the VNI is dropped. No VTEP may fragment
 *    (RFC 7348, 4.3), and a router never cuts so short; the next part would bring the VNI unseen;
 *  - a whole datagram that ends before the VNI passes: the vxlan device discards it;
 *  - more IPv6 extension headers than are walked: dropped, since a VNI could hide behind them.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "vxlan.h"

struct peer {
	/* Host byte order. */
	__u32 vni;
	/* IPv4 as ::ffff:a.b.c.d. */
	__u8 address[16];
};

enum counter {
	LET_IN,
	DROPPED_PEER,
	DROPPED_FRAGMENT,
	DROPPED_TOO_DEEP,
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u8);
} peer_networks SEC(".maps");

/* Preallocated: a failover must not need memory. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct peer);
	__type(value, __u8);
} peer_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} peer_counters SEC(".maps");

static __always_inline int counted(__u32 slot, int verdict)
{
	__u64 *count = bpf_map_lookup_elem(&peer_counters, &slot);

	if (count)
		(*count)++;
	return verdict;
}

SEC("tc")
int us_peers(struct __sk_buff *skb)
{
	struct peer peer = {};

	switch (read_vxlan(skb, peer.address, &peer.vni)) {
	case NOT_VXLAN:
		return TC_ACT_UNSPEC;
	case VNI_CUT_OFF:
		return counted(DROPPED_FRAGMENT, TC_ACT_SHOT);
	case VNI_TOO_DEEP:
		return counted(DROPPED_TOO_DEEP, TC_ACT_SHOT);
	case VXLAN:
		break;
	}
	if (!bpf_map_lookup_elem(&peer_networks, &peer.vni))
		return TC_ACT_UNSPEC;
	if (bpf_map_lookup_elem(&peer_sources, &peer))
		return counted(LET_IN, TC_ACT_UNSPEC);
	return counted(DROPPED_PEER, TC_ACT_SHOT);
}

char LICENSE[] SEC("license") = "GPL";

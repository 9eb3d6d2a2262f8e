// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The last look at what leaves: on the underlay NIC, VXLAN frames of our networks (VNIs) go out only
 * while this host's lease holds. The guard on a personality's NIC saw them before; but then the kernel
 * may have kept them for a neighbour that did not answer (neigh_resolve_output, net/core/neighbour.c), up
 * to three seconds beyond the lease. tc's egress hook comes after that queue.
 *
 * What cannot be read passes: it is not from a vxlan device of ours, whose headers are whole.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "lease.h"
#include "vxlan.h"

/* That of the peer filter, given in place of this definition. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u8);
} peer_networks SEC(".maps");

SEC("tc")
int us_departures(struct __sk_buff *skb)
{
	__u8 sender[16] = {};
	__u32 vni = 0;

	if (read_vxlan(skb, sender, &vni) != VXLAN || !bpf_map_lookup_elem(&peer_networks, &vni))
		return TC_ACT_UNSPEC;
	return lease_holds() ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

/* bpf_ktime_get_boot_ns() is for GPL-compatible programs only. */
char LICENSE[] SEC("license") = "GPL";

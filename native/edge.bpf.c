// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * A lab's switch port of one VLAN, for kernels without 802.1Q: what comes from the trunk loses its tag
 * (ingress), what goes to it gets one (egress). All else on the trunk is not for this port.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_ID 0xfff

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} edge_vlan SEC(".maps");

static __always_inline __u32 own_id(void)
{
	__u32 key = 0, *id = bpf_map_lookup_elem(&edge_vlan, &key);

	return id ? *id : 0;
}

SEC("tc")
int us_edge_in(struct __sk_buff *skb)
{
	/* The kernel has taken the tag out of the frame by now, wherever it came from (skb_vlan_untag). */
	if (!skb->vlan_present || (skb->vlan_tci & VLAN_ID) != own_id())
		return TC_ACT_SHOT;
	return bpf_skb_vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int us_edge_out(struct __sk_buff *skb)
{
	return bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), own_id()) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";

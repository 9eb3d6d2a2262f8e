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
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"

#define VXLAN_PORT 4789

struct udp_vxlan {
	__be16 source_port;
	__be16 port;
	__be16 length;
	__be16 checksum;
	__be32 flags;
	/* The VNI in the upper 24 bits. */
	__be32 vni;
};

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

static __always_inline int judge(struct __sk_buff *skb, const struct transport *at, struct peer *peer)
{
	struct udp_vxlan headers;
	__be16 ports[2];

	if (at->protocol != IPPROTO_UDP || at->later_fragment)
		return TC_ACT_UNSPEC;
	if (at->offset + sizeof(ports) > at->end || load(skb, at->offset, ports) ||
	    ports[1] != bpf_htons(VXLAN_PORT))
		return TC_ACT_UNSPEC;
	if (at->offset + sizeof(headers) > at->end || load(skb, at->offset, headers))
		return at->fragment ? counted(DROPPED_FRAGMENT, TC_ACT_SHOT) : TC_ACT_UNSPEC;
	peer->vni = bpf_ntohl(headers.vni) >> 8;
	if (!bpf_map_lookup_elem(&peer_networks, &peer->vni))
		return TC_ACT_UNSPEC;
	if (bpf_map_lookup_elem(&peer_sources, peer))
		return counted(LET_IN, TC_ACT_UNSPEC);
	return counted(DROPPED_PEER, TC_ACT_SHOT);
}

SEC("tc")
int us_peers(struct __sk_buff *skb)
{
	struct transport at = {};
	struct peer peer = {};
	__be16 protocol;

	/* The stack takes off a VLAN tag before this hook; one with an ID is another device's. */
	if ((skb->vlan_tci & 0xfff) != 0 || load(skb, offsetof(struct ethhdr, h_proto), protocol))
		return TC_ACT_UNSPEC;
	if (protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (load(skb, ETH_HLEN, ip) || parse_ipv4(&ip, ETH_HLEN, skb->len, &at) != PARSED)
			return TC_ACT_UNSPEC;
		peer.address[10] = 0xff;
		peer.address[11] = 0xff;
		__builtin_memcpy(peer.address + 12, &ip.saddr, 4);
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;
		enum parse parsed;

		if (load(skb, ETH_HLEN, ip))
			return TC_ACT_UNSPEC;
		parsed = parse_ipv6(skb, &ip, ETH_HLEN, skb->len, &at);
		if (parsed == TOO_DEEP)
			return counted(DROPPED_TOO_DEEP, TC_ACT_SHOT);
		if (parsed != PARSED)
			return TC_ACT_UNSPEC;
		__builtin_memcpy(peer.address, &ip.saddr, 16);
	} else {
		return TC_ACT_UNSPEC;
	}
	return judge(skb, &at, &peer);
}

char LICENSE[] SEC("license") = "GPL";

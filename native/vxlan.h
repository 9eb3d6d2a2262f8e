/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which VXLAN network (VNI) a frame on the underlay NIC belongs to (RFC 7348 section 5). */
#ifndef UNDERSTUDY_VXLAN_H
#define UNDERSTUDY_VXLAN_H

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

enum vxlan {
	VXLAN,
	NOT_VXLAN,
	/* A first fragment to the VXLAN port that ends before the VNI. */
	VNI_CUT_OFF,
	/* More IPv6 extension headers than are walked: a VNI could hide behind them. */
	VNI_TOO_DEEP,
};

/* @address gets the sender's, IPv4 as ::ffff:a.b.c.d, which a zeroed one is to be given for; @vni in host order. */
static __always_inline enum vxlan read_vxlan(struct __sk_buff *skb, __u8 address[16], __u32 *vni)
{
	struct transport at = {};
	struct udp_vxlan headers;
	__be16 protocol, ports[2];

	/* The stack takes off a VLAN tag before tc's hooks; one with an ID is another device's. */
	if ((skb->vlan_tci & 0xfff) != 0 || load(skb, offsetof(struct ethhdr, h_proto), protocol))
		return NOT_VXLAN;
	if (protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (load(skb, ETH_HLEN, ip) || parse_ipv4(&ip, ETH_HLEN, skb->len, &at) != PARSED)
			return NOT_VXLAN;
		address[10] = 0xff;
		address[11] = 0xff;
		__builtin_memcpy(address + 12, &ip.saddr, 4);
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;
		enum parse parsed;

		if (load(skb, ETH_HLEN, ip))
			return NOT_VXLAN;
		parsed = parse_ipv6(skb, &ip, ETH_HLEN, skb->len, &at);
		if (parsed != PARSED)
			return parsed == TOO_DEEP ? VNI_TOO_DEEP : NOT_VXLAN;
		__builtin_memcpy(address, &ip.saddr, 16);
	} else {
		return NOT_VXLAN;
	}
	if (at.protocol != IPPROTO_UDP || at.later_fragment)
		return NOT_VXLAN;
	if (at.offset + sizeof(ports) > at.end || load(skb, at.offset, ports) ||
	    ports[1] != bpf_htons(VXLAN_PORT))
		return NOT_VXLAN;
	if (at.offset + sizeof(headers) > at.end || load(skb, at.offset, headers))
		return at.fragment ? VNI_CUT_OFF : NOT_VXLAN;
	*vni = bpf_ntohl(headers.vni) >> 8;
	return VXLAN;
}

#endif

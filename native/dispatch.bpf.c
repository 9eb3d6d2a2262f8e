// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The dispatcher: hands what clients send to a service's shared address to its members, by a hash of
 * the packet's source. Layer 2 direct server return: only the MAC addresses change, the member holds
 * the shared address itself and answers the client. Attached by tc at ingress of the shared address's
 * own macvlan, behind the guard; what it sends leaves through the same NIC, past the guard there.
 *
 *  - Not for the shared address, or not a port of the service (ARP, neighbour discovery, echo): the
 *    stack's, which is this host's.
 *  - A fragment, the first included, goes by its address alone: the others have no ports. So in the
 *    modes that use ports it may go to another member than the flow's whole packets do.
 *  - An ICMP error goes to the member whose packet it quotes: by the tuple in it, reversed.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "dispatch.h"
#include "lease.h"
#include "packet.h"
#include "siphash.h"

/* Types of ICMP errors (RFC 792; 4443). <linux/icmp.h> needs a 32-bit libc. */
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PARAMPROB 4

#define TCP_HEADER_BYTES 20
#define UDP_HEADER_BYTES 8
#define ICMP_HEADER_BYTES 8
/* What an ICMP error quotes at least of the transport header (RFC 792). */
#define QUOTED_BYTES 8

/* What is hashed: 24 bytes, the fields that the mode leaves out are zero. */
union flow {
	struct {
		/* IPv4 as ::ffff:a.b.c.d. */
		__u8 address[16];
		__be16 port;
		__be16 service_port;
		__u8 protocol;
		__u8 unused[3];
	};
	__u64 words[3];
};

static __always_inline int is_same_mac(const void *one, const void *other)
{
	const __u16 *a = one, *b = other;

	return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2])) == 0;
}

static __always_inline int is_same_ipv6(const void *one, const void *other)
{
	const __u32 *a = one, *b = other;

	return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == 0;
}

static __always_inline int is_served(const struct generation *g, __u8 protocol, __be16 port)
{
	__u32 number = bpf_ntohs(port);
	const __u64 *ports = protocol == IPPROTO_TCP ? g->tcp_ports : g->udp_ports;

	return (ports[(number >> 6) & 1023] >> (number & 63)) & 1;
}

static __always_inline int is_served_protocol(const struct generation *g, __u8 protocol)
{
	return protocol == IPPROTO_TCP ? g->has_tcp : protocol == IPPROTO_UDP ? g->has_udp : 0;
}

static __always_inline int is_address(const struct generation *g, const void *ipv4, const void *ipv6)
{
	if (ipv4)
		return g->has_ipv4 && *(const __u32 *)ipv4 == *(const __u32 *)g->ipv4;
	return g->has_ipv6 && is_same_ipv6(ipv6, g->ipv6);
}

static __always_inline void set_ipv4(union flow *flow, const void *ipv4)
{
	flow->address[10] = 0xff;
	flow->address[11] = 0xff;
	__builtin_memcpy(flow->address + 12, ipv4, 4);
}

static __always_inline int finish(enum outcome outcome)
{
	__u32 slot = outcome;
	__u64 *count = bpf_map_lookup_elem(&dispatch_counts, &slot);

	if (count)
		(*count)++;
	return outcome == PASSED ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

static __always_inline __u32 slot_of(const struct generation *g, union flow *flow)
{
	if (g->hash_mode != HASH_5_TUPLE) {
		flow->service_port = 0;
		flow->protocol = 0;
	}
	if (g->hash_mode == HASH_SOURCE_IP)
		flow->port = 0;
	/* The upper half scaled to the number of slots, without a division. */
	return ((siphash_24_bytes(g->key, flow->words) >> 32) * SLOTS) >> 32;
}

static __always_inline int is_icmp_error(__u8 type, int is_ipv4)
{
	if (!is_ipv4)
		return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETERPROB;
}

/* The packet that an ICMP error quotes: one that a member sent, from the shared address. */
static __always_inline enum outcome judge_error(struct __sk_buff *skb, const struct generation *g,
						__u32 start, __u32 end, int is_ipv4, union flow *flow)
{
	struct transport at = {};
	enum parse parsed;
	__be16 ports[2];

	/* The quote may be cut off anywhere: its own lengths say nothing. */
	__builtin_memset(flow, 0, sizeof(*flow));
	if (is_ipv4) {
		struct iphdr ip;

		if (start + sizeof(ip) > end || load(skb, start, ip))
			return DROPPED_MALFORMED;
		if (!is_address(g, &ip.saddr, 0))
			return PASSED;
		ip.tot_len = 0;
		parsed = parse_ipv4(&ip, start, end, &at);
		set_ipv4(flow, &ip.daddr);
	} else {
		struct ipv6hdr ip;

		if (start + sizeof(ip) > end || load(skb, start, ip))
			return DROPPED_MALFORMED;
		if (!is_address(g, 0, &ip.saddr))
			return PASSED;
		ip.payload_len = 0;
		parsed = parse_ipv6(skb, &ip, start, end, &at);
		__builtin_memcpy(flow->address, &ip.daddr, 16);
	}
	if (parsed == MALFORMED)
		return DROPPED_MALFORMED;
	if (parsed != PARSED || !is_served_protocol(g, at.protocol))
		return PASSED;
	/* Without ports only the address is left to go by. */
	if (at.later_fragment)
		return FORWARDED;
	if (at.offset + QUOTED_BYTES > end || load(skb, at.offset, ports))
		return DROPPED_MALFORMED;
	if (!is_served(g, at.protocol, ports[0]))
		return PASSED;
	flow->port = ports[1];
	flow->service_port = ports[0];
	flow->protocol = at.protocol;
	return FORWARDED;
}

static __always_inline enum outcome judge(struct __sk_buff *skb, const struct generation *g,
					  const struct transport *at, int is_ipv4, union flow *flow)
{
	__u32 header_bytes = at->protocol == IPPROTO_TCP ? TCP_HEADER_BYTES : UDP_HEADER_BYTES;
	__be16 ports[2];
	__u8 type;

	if (is_served_protocol(g, at->protocol)) {
		if (at->fragment)
			return FORWARDED;
		if (at->offset + header_bytes > at->end || load(skb, at->offset, ports))
			return DROPPED_MALFORMED;
		if (!is_served(g, at->protocol, ports[1]))
			return PASSED;
		flow->port = ports[0];
		flow->service_port = ports[1];
		flow->protocol = at->protocol;
		return FORWARDED;
	}
	if (at->protocol != (is_ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) || at->fragment)
		return PASSED;
	if (at->offset + ICMP_HEADER_BYTES > at->end || load(skb, at->offset, type))
		return DROPPED_MALFORMED;
	if (!is_icmp_error(type, is_ipv4))
		return PASSED;
	return judge_error(skb, g, at->offset + ICMP_HEADER_BYTES, at->end, is_ipv4, flow);
}

/* FORWARDED: what is hashed stands in `flow`. */
static __always_inline enum outcome classify(struct __sk_buff *skb, const struct generation *g,
					     union flow *flow)
{
	struct transport at = {};
	struct ethhdr ethernet __attribute__((aligned(8)));
	enum parse parsed;
	int is_ipv4;

	if (load(skb, 0, ethernet))
		return PASSED;
	/* A broadcast frame with a unicast packet inside is nobody's; a VLAN is another device's. */
	if (!is_same_mac(ethernet.h_dest, g->mac) || (skb->vlan_tci & 0xfff) != 0)
		return PASSED;
	is_ipv4 = ethernet.h_proto == bpf_htons(ETH_P_IP);
	if (is_ipv4) {
		struct iphdr ip;

		if (load(skb, ETH_HLEN, ip) || !is_address(g, &ip.daddr, 0))
			return PASSED;
		parsed = parse_ipv4(&ip, ETH_HLEN, skb->len, &at);
		set_ipv4(flow, &ip.saddr);
	} else if (ethernet.h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;

		if (load(skb, ETH_HLEN, ip) || !is_address(g, 0, &ip.daddr))
			return PASSED;
		parsed = parse_ipv6(skb, &ip, ETH_HLEN, skb->len, &at);
		__builtin_memcpy(flow->address, &ip.saddr, 16);
	} else {
		return PASSED;
	}
	/* Sent by ourselves, and it came back: once more would be a loop. */
	if (is_same_mac(ethernet.h_source, g->mac))
		return DROPPED_LOOP;
	if (parsed == MALFORMED)
		return DROPPED_MALFORMED;
	if (parsed == TOO_DEEP)
		return DROPPED_TOO_DEEP;
	if (parsed != PARSED)
		return PASSED;
	return judge(skb, g, &at, is_ipv4, flow);
}

/* NO_MEMBER when nobody can take it. */
static __always_inline __u32 member_for(const struct generation *g, union flow *flow)
{
	__u32 slot = slot_of(g, flow);

	return slot < SLOTS ? g->slots[slot] : NO_MEMBER;
}

/* Rewrites both addresses: with the client's as source, a switch would learn the client on our port. */
static __always_inline int forward(struct __sk_buff *skb, const struct generation *g,
				   __u32 index)
{
	const struct member *member;
	struct traffic *traffic;
	__u32 counter;
	__u8 macs[12];

	/* Its bound where the verifier looks for it; the compiler would move the check elsewhere. */
	asm volatile("%0 &= 1023" : "+r"(index));
	member = &g->members[index];
	__builtin_memcpy(macs, member->mac, 6);
	__builtin_memcpy(macs + 6, g->mac, 6);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return finish(DROPPED_WRITE);
	counter = member->counter;
	traffic = bpf_map_lookup_elem(&dispatch_traffic, &counter);
	if (traffic) {
		/* A batch that the stack made of several packets (GRO) counts as those. */
		traffic->packets += skb->gso_segs > 1 ? skb->gso_segs : 1;
		traffic->bytes += skb->len;
	}
	return bpf_redirect(skb->ifindex, 0);
}

SEC("tc")
int us_dispatch(struct __sk_buff *skb)
{
	__u32 slot = 0;
	__u32 *active = bpf_map_lookup_elem(&dispatch_active, &slot);
	const struct generation *g;
	union flow flow = {};
	enum outcome outcome;
	__u32 member;

	if (!active)
		return finish(PASSED);
	slot = *active;
	g = bpf_map_lookup_elem(&dispatch_gens, &slot);
	if (!g)
		return finish(PASSED);
	outcome = classify(skb, g, &flow);
	if (outcome != FORWARDED)
		return finish(outcome);
	/* The guards on the way check it too, but this program need not be behind one. */
	if (!lease_holds())
		return finish(DROPPED_LEASE);
	member = member_for(g, &flow);
	if (member >= MOST_MEMBERS)
		return finish(DROPPED_NO_MEMBER);
	return forward(skb, g, member);
}

char LICENSE[] SEC("license") = "GPL";

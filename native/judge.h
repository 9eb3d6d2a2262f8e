/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What becomes of a frame to a service's MAC, and which flow it belongs to. */
#ifndef UNDERSTUDY_JUDGE_H
#define UNDERSTUDY_JUDGE_H

#include "direct.h"
#include "dispatch.h"
#include "scratch.h"

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

/* Where its flags are. */
#define TCP_FLAGS 13

static __always_inline int is_range_of(const struct service *service, __u32 number)
{
	if (mostly(number - service->ports[0].first <= service->ports[0].more))
		return 1;
#pragma clang loop unroll(disable)
	for (int at = 1; at < MOST_RANGES; at++) {
		const struct port_range *range = &service->ports[at];

		if (number - range->first <= range->more)
			return 1;
	}
	return 0;
}

static __always_inline int is_served(const struct service *service, __u8 protocol, __be16 port)
{
	return is_range_of(service, endpoint(protocol, bpf_ntohs(port)));
}

static __always_inline int is_served_protocol(const struct service *service, __u8 protocol)
{
	return protocol == IPPROTO_TCP ? service->has_tcp : protocol == IPPROTO_UDP ? service->has_udp : 0;
}

static __always_inline int is_ipv4_of(const struct service *service, __u32 address)
{
	return service->has_ipv4 && address == service->ipv4;
}

static __always_inline int is_ipv6_of(const struct service *service, const struct in6_addr *address)
{
	const __u32 *own = (const __u32 *)service->ipv6, *other = (const __u32 *)address;

	return service->has_ipv6 && ((own[0] ^ other[0]) | (own[1] ^ other[1]) | (own[2] ^ other[2]) |
				     (own[3] ^ other[3])) == 0;
}

static __always_inline int is_icmp_error(__u8 type, int is_ipv4)
{
	if (!is_ipv4)
		return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETERPROB;
}

static __always_inline enum outcome unparsed(enum parse parsed)
{
	return parsed == MALFORMED  ? DROPPED_MALFORMED
	     : parsed == TOO_DEEP   ? DROPPED_TOO_DEEP
	     : parsed == NOT_LINEAR ? UNREAD
				    : PASSED;
}

struct packet {
	struct frame frame;
	const struct service *service;
	struct transport *at;
	struct flow *flow;
};

/* The packet that an ICMP error quotes: one that a member sent, from the shared address. */
static __always_inline enum outcome judge_error(struct packet *packet)
{
	const struct service *service = packet->service;
	struct transport *at = packet->at;
	__u32 start = at->offset + ICMP_HEADER_BYTES, end = at->end;
	__u32 header_bytes = packet->flow->is_ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const __be16 *ports;
	enum parse parsed;

	*at = (struct transport){};
	if (start + header_bytes > end)
		return DROPPED_MALFORMED;
	/* The quote may be cut off anywhere: its own lengths say nothing. */
	if (packet->flow->is_ipv4) {
		const struct iphdr *quoted = read_at(&packet->frame, start, sizeof(*quoted));
		struct iphdr ip;

		if (!quoted)
			return unparsed(missing(&packet->frame, start, sizeof(*quoted)));
		ip = *quoted;
		if (!is_ipv4_of(service, ip.saddr))
			return PASSED;
		ip.tot_len = 0;
		parsed = parse_ipv4(&ip, start, end, at);
		set_ipv4(packet->flow, ip.daddr);
	} else {
		const struct ipv6hdr *quoted = read_at(&packet->frame, start, sizeof(*quoted));
		struct ipv6hdr ip;

		if (!quoted)
			return unparsed(missing(&packet->frame, start, sizeof(*quoted)));
		ip = *quoted;
		if (!is_ipv6_of(service, &ip.saddr))
			return PASSED;
		ip.payload_len = 0;
		parsed = parse_ipv6_directly(&packet->frame, &ip, start, end, at);
		set_ipv6(packet->flow, &ip.daddr);
	}
	/* What is quoted too deep is nobody's, and small. */
	if (parsed == TOO_DEEP)
		return PASSED;
	if (parsed != PARSED)
		return unparsed(parsed);
	read_again();
	if (!is_served_protocol(service, at->protocol))
		return PASSED;
	packet->flow->is_quoted = 1;
	packet->flow->protocol = at->protocol;
	/* Without ports only the address is left to go by. */
	if (at->later_fragment)
		return FORWARDED;
	if (at->offset + QUOTED_BYTES > at->end)
		return DROPPED_MALFORMED;
	ports = read_at(&packet->frame, at->offset, QUOTED_BYTES);
	if (!ports)
		return unparsed(missing(&packet->frame, at->offset, QUOTED_BYTES));
	if (!is_served(service, at->protocol, ports[0]))
		return PASSED;
	packet->flow->port = ports[1];
	packet->flow->service_port = bpf_ntohs(ports[0]);
	return FORWARDED;
}

static __always_inline enum outcome judge_transport(struct packet *packet)
{
	const struct transport *at = packet->at;
	int is_tcp = at->protocol == IPPROTO_TCP;
	__u32 header_bytes = is_tcp ? TCP_HEADER_BYTES : UDP_HEADER_BYTES;
	const __u8 *header;

	if (is_served_protocol(packet->service, at->protocol)) {
		const __be16 *ports;

		packet->flow->protocol = at->protocol;
		if (at->fragment)
			return FORWARDED;
		if (at->offset + header_bytes > at->end)
			return DROPPED_MALFORMED;
		header = read_at(&packet->frame, at->offset, UDP_HEADER_BYTES);
		if (!header || (is_tcp && !read_at(&packet->frame, at->offset, TCP_HEADER_BYTES)))
			return unparsed(missing(&packet->frame, at->offset, header_bytes));
		ports = (const __be16 *)header;
		if (!is_served(packet->service, at->protocol, ports[1]))
			return PASSED;
		packet->flow->port = ports[0];
		packet->flow->service_port = bpf_ntohs(ports[1]);
		if (is_tcp) {
			const __u8 *tcp = read_at(&packet->frame, at->offset, TCP_HEADER_BYTES);

			packet->flow->is_new = tcp && (tcp[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
		}
		return FORWARDED;
	}
	if (at->protocol != (packet->flow->is_ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) || at->fragment)
		return PASSED;
	if (at->offset + ICMP_HEADER_BYTES > at->end)
		return DROPPED_MALFORMED;
	header = read_at(&packet->frame, at->offset, ICMP_HEADER_BYTES);
	if (!header)
		return unparsed(missing(&packet->frame, at->offset, ICMP_HEADER_BYTES));
	if (!is_icmp_error(*header, packet->flow->is_ipv4))
		return PASSED;
	return judge_error(packet);
}

/* FORWARDED: whose it is stands in `flow`. `protocol` and `start`: what the Ethernet header carries. */
static __always_inline enum outcome judge(struct packet *packet, __be16 protocol, __u32 start)
{
	const struct service *service = packet->service;
	enum parse parsed;

	packet->flow->is_ipv4 = protocol == bpf_htons(ETH_P_IP);
	if (packet->flow->is_ipv4) {
		const struct iphdr *ip = read_at(&packet->frame, start, sizeof(*ip));

		if (!ip)
			return missing(&packet->frame, start, sizeof(*ip)) == NOT_LINEAR ? UNREAD : PASSED;
		if (!is_ipv4_of(service, ip->daddr))
			return PASSED;
		parsed = parse_ipv4(ip, start, packet->frame.bytes, packet->at);
		set_ipv4(packet->flow, ip->saddr);
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = read_at(&packet->frame, start, sizeof(*ip));

		if (!ip)
			return missing(&packet->frame, start, sizeof(*ip)) == NOT_LINEAR ? UNREAD : PASSED;
		if (!is_ipv6_of(service, &ip->daddr))
			return PASSED;
		parsed = parse_ipv6_directly(&packet->frame, ip, start, packet->frame.bytes, packet->at);
		set_ipv6(packet->flow, &ip->saddr);
	} else {
		return PASSED;
	}
	if (parsed != PARSED)
		return unparsed(parsed);
	read_again();
	return judge_transport(packet);
}

#endif

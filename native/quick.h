/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The packets that nearly all are, read in one go: TCP or UDP in IP without options, extensions or
 * fragments, with at least 20 bytes behind the IP header. What is not quite so is judged (judge.h), which
 * finds the same of these, and takes its time.
 */
#ifndef UNDERSTUDY_QUICK_H
#define UNDERSTUDY_QUICK_H

#include "judge.h"

#define QUICK_BYTES TCP_HEADER_BYTES

/* What stands in both protocols' first 20 bytes. */
static __always_inline int read_transport(const struct service *service, const void *at, __u8 protocol,
					  __u32 *number, struct source *source)
{
	const __u8 *bytes = at;

	*number = endpoint(protocol, bpf_ntohs(*(const __be16 *)(at + 2)));
	if (!is_range_of(service, *number))
		return 0;
	source->traits = *number;
	if (rarely((bytes[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN) && protocol == IPPROTO_TCP)
		source->traits |= FLOW_IS_NEW;
	return 1;
}

/* `at`: behind the Ethernet header; `bytes`: from there to the end of the frame. */
static __always_inline int read_ipv4(const struct service *service, const void *at, const void *end, __u32 bytes,
				     struct source *source)
{
	const struct iphdr *ip = at;
	const __be16 *port = at + sizeof(*ip);
	__u32 length, number;

	if (at + sizeof(*ip) + QUICK_BYTES > end)
		return 0;
	length = bpf_ntohs(ip->tot_len);
	if (*(const __u8 *)at != service->quick_ipv4 || ip->daddr != service->ipv4 ||
	    (ip->frag_off & bpf_htons(0x3fff)) || length < sizeof(*ip) + QUICK_BYTES || length > bytes)
		return 0;
	if (!read_transport(service, at + sizeof(*ip), ip->protocol, &number, source))
		return 0;
	source_ipv4(source, service, ip->saddr, *port, number);
	return 1;
}

static __always_inline int read_ipv6(const struct service *service, const void *at, const void *end, __u32 bytes,
				     struct source *source)
{
	const struct ipv6hdr *ip = at;
	const __be16 *port = at + sizeof(*ip);
	__u32 length, number;

	if (at + sizeof(*ip) + QUICK_BYTES > end)
		return 0;
	length = bpf_ntohs(ip->payload_len);
	if (*(const __u8 *)at >> 4 != 6 || length < QUICK_BYTES || length + sizeof(*ip) > bytes ||
	    !is_ipv6_of(service, &ip->daddr))
		return 0;
	if (!read_transport(service, at + sizeof(*ip), ip->nexthdr, &number, source))
		return 0;
	source_ipv6(source, service, two_words(&ip->saddr), two_words((const void *)&ip->saddr + 8), *port,
		    number);
	return 1;
}

/* FORWARDED, and whose it is in `source`; or UNREAD. */
static __always_inline enum outcome read_quickly(const struct service *service, const struct frame *frame,
						 __be16 protocol, __u32 start, struct source *source)
{
	const void *at = frame->data + start;
	__u32 bytes = frame->bytes - start;

	if (mostly(protocol == bpf_htons(ETH_P_IP)))
		return read_ipv4(service, at, frame->end, bytes, source) ? FORWARDED : UNREAD;
	if (protocol == bpf_htons(ETH_P_IPV6))
		return read_ipv6(service, at, frame->end, bytes, source) ? FORWARDED : UNREAD;
	return UNREAD;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The packets that nearly all are, read and handed over in one go: TCP or UDP in IP without options,
 * extensions or fragments, with at least 20 bytes behind the IP header, while the lease holds. What is not
 * quite so is UNREAD here: it is judged (judge.h), which finds the same of these, and takes its time.
 */
#ifndef UNDERSTUDY_QUICK_H
#define UNDERSTUDY_QUICK_H

#include "judge.h"
#include "known.h"
#include "members.h"

#define QUICK_BYTES TCP_HEADER_BYTES
/* Of a frame to be read quickly: an IPv4 header behind the Ethernet header, and those. */
#define LEAST_BYTES (ETH_HLEN + sizeof(struct iphdr) + QUICK_BYTES)

/* What stands in both protocols' first 20 bytes. */
static __always_inline int read_transport(const struct service *service, const void *at, __u8 protocol,
					  __u32 *number, struct source *source)
{
	const __u8 *bytes = at;

	*number = endpoint(protocol, bpf_ntohs(*(const __be16 *)(at + 2)));
	if (!is_range_of(service, *number))
		return 0;
	/* Whatever stands there in UDP: it is not asked. */
	source->traits = *number | (__u32)(bytes[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) << FLOW_FLAGS;
	return 1;
}

/* `start`: where the Ethernet header ends. */
static __always_inline int read_ipv4(const struct service *service, const struct frame *frame, __u32 start,
				     struct source *source)
{
	const void *at = frame->data + start;
	const struct iphdr *ip = at;
	const __be16 *port = at + sizeof(*ip);
	__u32 length, number;

	if (at + sizeof(*ip) + QUICK_BYTES > frame->end)
		return 0;
	length = bpf_ntohs(ip->tot_len);
	if (*(const __u8 *)at != service->quick_ipv4 || ip->daddr != service->ipv4 ||
	    (ip->frag_off & bpf_htons(0x3fff)) || length < sizeof(*ip) + QUICK_BYTES || length + start > frame->bytes)
		return 0;
	if (!read_transport(service, at + sizeof(*ip), ip->protocol, &number, source))
		return 0;
	source_ipv4(source, service, ip->saddr, *port, number);
	return 1;
}

static __always_inline int read_ipv6(const struct service *service, const struct frame *frame, __u32 start,
				     struct source *source)
{
	const void *at = frame->data + start;
	const struct ipv6hdr *ip = at;
	const __be16 *port = at + sizeof(*ip);
	__u32 length, number;

	if (at + sizeof(*ip) + QUICK_BYTES > frame->end)
		return 0;
	length = bpf_ntohs(ip->payload_len);
	if (*(const __u8 *)at >> 4 != 6 || length < QUICK_BYTES || length + sizeof(*ip) + start > frame->bytes ||
	    !is_ipv6_of(service, &ip->daddr))
		return 0;
	if (!read_transport(service, at + sizeof(*ip), ip->nexthdr, &number, source))
		return 0;
	source_ipv6(source, service, two_words(&ip->saddr), two_words((const void *)&ip->saddr + 8), *port,
		    number);
	return 1;
}

/* With a tag in the frame. */
static __always_inline int read_tagged(const struct service *service, const struct frame *frame, __u32 vlan,
				       struct source *source)
{
	const __be16 *tag = frame->data + ETH_HLEN;

	if ((bpf_ntohs(tag[0]) & 0xfff) != vlan)
		return 0;
	if (mostly(tag[1] == bpf_htons(ETH_P_IP)))
		return read_ipv4(service, frame, TAGGED, source);
	return tag[1] == bpf_htons(ETH_P_IPV6) && read_ipv6(service, frame, TAGGED, source);
}

/* `vlan`: the service's; `taken_off`: the one that the frame no longer carries. */
static __always_inline int read_quickly(const struct service *service, const struct frame *frame, __u32 vlan,
					__u32 taken_off, struct source *source)
{
	__be16 protocol = *(const __be16 *)(frame->data + 12);

	if (rarely(protocol == bpf_htons(ETH_P_8021Q)))
		return !taken_off && read_tagged(service, frame, vlan, source);
	if (taken_off != vlan)
		return 0;
	if (mostly(protocol == bpf_htons(ETH_P_IP)))
		return read_ipv4(service, frame, ETH_HLEN, source);
	return protocol == bpf_htons(ETH_P_IPV6) && read_ipv6(service, frame, ETH_HLEN, source);
}

/* As `dispatch_slowly`: FORWARDED or NOT_OURS, if that is sure; or UNREAD. */
static __always_inline enum outcome dispatch_quickly(const struct frame *frame, __u32 vlan, int trunk,
						     __u32 packets, int *is_local)
{
	const struct state *state = active_state();
	const struct service *service;
	struct source source;
	__u64 number;

	if (frame->data + LEAST_BYTES > frame->end)
		return UNREAD;
	number = known_mac(state, destination_of(frame->data));
	if (number >= MOST_SERVICES)
		return NOT_OURS;
	if (is_dispatcher(state, frame->data))
		return UNREAD;
	service = &state->services[number];
	kept_in_register(service);
	if (!read_quickly(service, frame, trunk ? service->vlan : 0, vlan, &source))
		return UNREAD;
	/* Where nobody can take it, that is counted on the long way. */
	return hand_over(frame, service, &source, packets, is_local) == FORWARDED ? FORWARDED : UNREAD;
}

#endif

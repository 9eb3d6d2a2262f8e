/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Reading a frame where it lies, the same from XDP and from tc. With tc a frame's headers may not all
 * be in its linear part: then the answer is NOT_LINEAR, and the caller pulls more of it in.
 */
#ifndef UNDERSTUDY_DIRECT_H
#define UNDERSTUDY_DIRECT_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include "packet.h"

/* Further in, nothing is looked for: the longest headers that are walked end before. */
#define MOST_OFFSET 0x3fff

/* Of the Ethernet header with a tag. */
#define TAGGED (ETH_HLEN + 4)

struct frame {
	void *data;
	void *end;
	/* Of all of it. */
	__u64 bytes;
	/* A field of the program's context that says nothing of the frame's start; see forget_here. */
	volatile __u32 *field;
};

/* As `forget`. */
static __always_inline __u64 forget_here(const struct frame *frame, __u64 number)
{
	__u32 once = *frame->field, again = *frame->field;

	return number + (__u64)once - again;
}

/*
 * A header behind the Ethernet one. All stand at 2 more than a multiple of 4, which the verifier is told
 * here: some machines read nothing that is not aligned.
 */
static __always_inline void *read_at(const struct frame *frame, __u32 offset, __u32 size)
{
	void *at = frame->data + ((offset - 2) & (MOST_OFFSET & ~3)) + 2;

	return offset > MOST_OFFSET || at + size > frame->end ? 0 : at;
}

static __always_inline enum parse missing(const struct frame *frame, __u32 offset, __u32 size)
{
	return offset + size > frame->bytes || offset > MOST_OFFSET ? MALFORMED : NOT_LINEAR;
}

/* As walk_extensions, of bytes that are read directly. */
static __always_inline __u64 walk_directly(const struct frame *frame, __u32 next, __u32 offset, __u32 end)
{
	__be16 fragment = 0;

	for (int i = 0; i <= MOST_EXTENSION_HEADERS; i++) {
		const struct extension *extension;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_AUTHENTICATION)
			return walked(PARSED, offset, next, fragment);
		if (offset + 8 > end)
			return walked(MALFORMED, 0, 0, 0);
		extension = read_at(frame, offset, 8);
		if (!extension)
			return walked(missing(frame, offset, 8), 0, 0, 0);
		if (next == IPPROTO_FRAGMENT) {
			/* Offset 0 and no more to come: whole (RFC 6946, "atomic"). */
			fragment = extension->fragment & bpf_htons(0xfff9);
			if (fragment)
				return walked(PARSED, offset + 8, extension->next, fragment);
			offset = forget_here(frame, offset + 8);
		} else if (next == IPPROTO_AUTHENTICATION) {
			offset = forget_here(frame, offset + (extension->length + 2) * 4);
		} else {
			if (next == IPPROTO_ROUTING && extension->segments_left != 0)
				return walked(ROUTED, 0, 0, 0);
			offset = forget_here(frame, offset + (extension->length + 1) * 8);
		}
		next = extension->next;
		if (offset > end)
			return walked(MALFORMED, 0, 0, 0);
	}
	return walked(TOO_DEEP, 0, 0, 0);
}

static __always_inline struct frame frame_of_skb(struct __sk_buff *skb)
{
	struct frame frame = {
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.bytes = skb->len,
		.field = &skb->len,
	};

	return frame;
}

static __always_inline struct frame frame_of_xdp(struct xdp_md *xdp)
{
	struct frame frame = {
		.data = (void *)(long)xdp->data,
		.end = (void *)(long)xdp->data_end,
		.field = &xdp->rx_queue_index,
	};

	/* Of a pointer the compiler may not make 32 bits. */
	frame.bytes = frame.end - frame.data;
	asm volatile("" : "+r"(frame.bytes));
	return frame;
}

static __always_inline int has_extensions(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	       next == IPPROTO_FRAGMENT || next == IPPROTO_AUTHENTICATION;
}

static __always_inline enum parse parse_ipv6_directly(const struct frame *frame, const struct ipv6hdr *ip, __u32 start, __u32 limit,
						      struct transport *found)
{
	enum parse parsed;
	__u64 packed;

	if (ip->version != 6)
		return NOT_IP;
	start += sizeof(*ip);
	parsed = datagram_end(found, start, bpf_ntohs(ip->payload_len), 0, limit);
	if (parsed != PARSED)
		return parsed;
	found->offset = start;
	found->protocol = ip->nexthdr;
	if (!has_extensions(ip->nexthdr))
		return PARSED;
	packed = walk_directly(frame, ip->nexthdr, start, found->end);
	found->offset = packed & 0xffffff;
	found->protocol = packed >> 24;
	found->fragment = ((packed >> 32) & 0xffff) != 0;
	found->later_fragment = ((packed >> 32) & 0xfff8) != 0;
	return packed >> 48;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Reading IPv4 and IPv6 headers of a frame, no further than the IP length says. What reads by itself
 * here copies (bpf_skb_load_bytes), so it does not matter which part of a frame is linear.
 */
#ifndef UNDERSTUDY_PACKET_H
#define UNDERSTUDY_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IPPROTO_AUTHENTICATION 51
/* Hop-by-hop, routing, fragment, authentication, destination options twice: all there are (RFC 8200, 4.1). */
#define MOST_EXTENSION_HEADERS 6

enum parse {
	PARSED,
	/* Not IP as we know it, or for whom it is cannot be read. */
	NOT_IP,
	/* Its own lengths contradict each other, or it ends inside a header. */
	MALFORMED,
	/* More extension headers than are walked. */
	TOO_DEEP,
	/* Its next destination is another one (routing header, segments left). */
	ROUTED,
	/* The frame goes on, but not in the part that can be read directly. */
	NOT_LINEAR,
};

/* What stands after the IP headers, and where. Offsets are from the start of the frame. */
struct transport {
	__u32 offset;
	/* First byte after the datagram. */
	__u32 end;
	__u8 protocol;
	/* Part of a datagram, the first part included. */
	__u8 fragment;
	/* A part without the transport header. */
	__u8 later_fragment;
};

#define load(skb, offset, into) bpf_skb_load_bytes(skb, offset, &(into), sizeof(into))

/* A total length of 0 is what the stack gives to received batches above 64 KiB (BIG TCP). */
static __always_inline enum parse datagram_end(struct transport *found, __u32 start, __u32 length_bytes,
					       __u32 headers_bytes, __u32 limit)
{
	found->end = limit;
	if (length_bytes == 0)
		return PARSED;
	if (length_bytes < headers_bytes || start + length_bytes > limit)
		return MALFORMED;
	found->end = start + length_bytes;
	return PARSED;
}

/* `ip` has been read from `start`. `limit`: end of the frame. */
static __always_inline enum parse parse_ipv4(const struct iphdr *ip, __u32 start, __u32 limit,
					     struct transport *found)
{
	__u32 header_bytes = ip->ihl * 4;
	__u32 offset_bits = bpf_ntohs(ip->frag_off) & 0x1fff;

	if (ip->version != 4 || header_bytes < sizeof(*ip))
		return NOT_IP;
	found->offset = start + header_bytes;
	found->protocol = ip->protocol;
	/* More fragments, or an offset (RFC 791). */
	found->fragment = (ip->frag_off & bpf_htons(0x3fff)) != 0;
	found->later_fragment = offset_bits != 0;
	return datagram_end(found, start, bpf_ntohs(ip->tot_len), header_bytes, limit);
}

struct extension {
	__u8 next;
	/* In units of 8 bytes, the first not counted; authentication: 4 bytes, two not counted. */
	__u8 length;
	/* Routing header: type, segments left. Fragment header: offset and flags. */
	union {
		struct {
			__u8 routing_type;
			__u8 segments_left;
		};
		__be16 fragment;
	};
};

static __always_inline __u64 walked(enum parse parse, __u32 offset, __u8 protocol, __be16 fragment)
{
	return ((__u64)parse << 48) | ((__u64)bpf_ntohs(fragment) << 32) | (protocol << 24) | (offset & 0xffffff);
}

/*
 * The same number, of which the verifier knows nothing any more: to it, the two reads differ. Else it
 * looks at all that follows anew for each way through the walk, and loading takes three times as long.
 */
static __always_inline __u64 forget(struct __sk_buff *skb, __u64 number)
{
	volatile __u32 *length = &skb->len;
	__u64 once = *length, again = *length;

	return number + (once - again);
}

/* Walks the extension headers up to the transport header, or past the fragment header of a fragment. */
static __always_inline __u64 walk_extensions(struct __sk_buff *skb, __u32 next, __u32 offset, __u32 end)
{
	__be16 fragment = 0;

	for (int i = 0; i <= MOST_EXTENSION_HEADERS; i++) {
		struct extension extension;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_AUTHENTICATION)
			return walked(PARSED, offset, next, fragment);
		if (offset + 8 > end || load(skb, offset, extension))
			return walked(MALFORMED, 0, 0, 0);
		if (next == IPPROTO_FRAGMENT) {
			/* Offset 0 and no more to come: whole (RFC 6946, "atomic"). */
			fragment = extension.fragment & bpf_htons(0xfff9);
			if (fragment)
				return walked(PARSED, offset + 8, extension.next, fragment);
			offset = forget(skb, offset + 8);
		} else if (next == IPPROTO_AUTHENTICATION) {
			offset = forget(skb, offset + (extension.length + 2) * 4);
		} else {
			if (next == IPPROTO_ROUTING && extension.segments_left != 0)
				return walked(ROUTED, 0, 0, 0);
			offset = forget(skb, offset + (extension.length + 1) * 8);
		}
		next = extension.next;
		if (offset > end)
			return walked(MALFORMED, 0, 0, 0);
	}
	return walked(TOO_DEEP, 0, 0, 0);
}

static __always_inline enum parse parse_ipv6(struct __sk_buff *skb, const struct ipv6hdr *ip, __u32 start,
					     __u32 limit, struct transport *found)
{
	enum parse parsed;
	__u64 packed;

	if (ip->version != 6)
		return NOT_IP;
	start += sizeof(*ip);
	parsed = datagram_end(found, start, bpf_ntohs(ip->payload_len), 0, limit);
	if (parsed != PARSED)
		return parsed;
	packed = forget(skb, walk_extensions(skb, ip->nexthdr, start, found->end));
	found->offset = packed & 0xffffff;
	found->protocol = packed >> 24;
	found->fragment = ((packed >> 32) & 0xffff) != 0;
	found->later_fragment = ((packed >> 32) & 0xfff8) != 0;
	return packed >> 48;
}

#endif

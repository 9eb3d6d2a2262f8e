/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a flow is, and what is hashed of it. src/dispatch/flow.ts computes the same hash. */
#ifndef UNDERSTUDY_FLOW_KEY_H
#define UNDERSTUDY_FLOW_KEY_H

#include <linux/in6.h>
#include "dispatch.h"
#include "siphash.h"

struct flow {
	/* The client's; an IPv4 address in the first word. */
	__u64 address[2];
	/* Fields that are not known, as of a fragment, are zero. */
	__be16 port;
	__be16 service_port;
	__u8 protocol;
	/* A connection begins. */
	__u8 is_new;
	/* Known from an error that quotes it. */
	__u8 is_quoted;
	__u8 is_ipv4;
};

static __always_inline void set_ipv4(struct flow *flow, __u32 address)
{
	flow->address[0] = address;
}

/* By halves: in a frame it need not stand at a multiple of 8. */
static __always_inline void set_ipv6(struct flow *flow, const struct in6_addr *address)
{
	const __u32 *words = (const __u32 *)address;

	flow->address[0] = words[0] | (__u64)words[1] << 32;
	flow->address[1] = words[2] | (__u64)words[3] << 32;
}

/*
 * SipHash-1-3 of address, port, service port, protocol: 9 bytes for IPv4, 21 for IPv6; fields that the
 * mode leaves out are zero.
 */
static __always_inline __u64 hash_of(const struct service *service, const struct flow *flow)
{
	struct siphash s = siphash_start(service->key);
	__u64 ports = 0, protocol = 0;

	if (service->hash_mode != HASH_SOURCE_IP)
		ports = flow->port;
	if (service->hash_mode == HASH_5_TUPLE && (flow->port | flow->service_port)) {
		ports |= (__u64)flow->service_port << 16;
		protocol = flow->protocol;
	}
	if (flow->is_ipv4) {
		siphash_absorb(&s, flow->address[0] | ports << 32);
		return siphash_finish(&s, protocol | 9ULL << 56);
	}
	siphash_absorb(&s, flow->address[0]);
	siphash_absorb(&s, flow->address[1]);
	return siphash_finish(&s, ports | protocol << 32 | 21ULL << 56);
}

/*
 * What a flow is remembered by: its hash, which nobody can aim, and what it was not made of. In mode
 * source-ip a client's flows are one, so that related ports stay together. `era`: since the slot was
 * tracked anew a port may have been used again, unseen, so older records are none.
 */
static __always_inline __u64 identity_of(const struct service *service, const struct flow *flow, __u64 hash,
					 __u32 era)
{
	__u64 more = (__u64)service->birth << 29 | era;

	if (service->hash_mode != HASH_SOURCE_IP)
		more |= (__u64)flow->service_port << 13 | (__u64)flow->protocol << 5;
	hash ^= more * 0x9e3779b97f4a7c15ULL;
	/* A product's lowest bits know little of its factors; they choose the bucket. */
	return hash ^ hash >> 31;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a flow is, and what is hashed of it. src/dispatch/flow.ts computes the same hash. */
#ifndef UNDERSTUDY_FLOW_KEY_H
#define UNDERSTUDY_FLOW_KEY_H

#include <linux/in6.h>
#include "dispatch.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are read as little-endian"
#endif

/* As it is read. */
struct flow {
	/* The client's; an IPv4 address in the first word. */
	__u64 address[2];
	/* The client's, as it stands in the header; 0: not known, as of a fragment. */
	__be16 port;
	/* The service's, in host byte order. */
	__u16 service_port;
	__u8 protocol;
	/* A connection begins. */
	__u8 is_new;
	/* Known from an error that quotes it. */
	__u8 is_quoted;
	__u8 is_ipv4;
};

/* What the choice of a member needs to know of a flow. */
struct source {
	/* Hashed; what the service's mode leaves out is zero. */
	__u64 first;
	__u64 last;
	/* As `endpoint`, and: TCP's flags SYN and ACK, as they stand in the header; FLOW_IS_QUOTED. */
	__u32 traits;
};

#define FLOW_IS_UDP ((__u32)IPPROTO_UDP << 16)
#define FLOW_IS_TCP ((__u32)IPPROTO_TCP << 16)
#define FLOW_PROTOCOL_BITS 0xff0000
#define FLOW_IS_QUOTED 0x1000000
#define FLOW_FLAGS 24
#define TCP_SYN 0x02
#define TCP_ACK 0x10
/* A connection begins. */
#define FLOW_BEGINS (FLOW_IS_TCP | (__u32)TCP_SYN << FLOW_FLAGS)

static __always_inline int begins(__u32 traits)
{
	return (traits & (FLOW_PROTOCOL_BITS | (__u32)(TCP_SYN | TCP_ACK) << FLOW_FLAGS)) == FLOW_BEGINS;
}

static __always_inline void set_ipv4(struct flow *flow, __u32 address)
{
	flow->address[0] = address;
}

/* By halves: in a frame it need not stand at a multiple of 8. */
static __always_inline __u64 two_words(const void *at)
{
	const __u32 *words = at;

	return words[0] | (__u64)words[1] << 32;
}

static __always_inline void set_ipv6(struct flow *flow, const struct in6_addr *address)
{
	flow->address[0] = two_words(address);
	flow->address[1] = two_words((const void *)address + 8);
}

/*
 * One word into the hash: a secret word, a secret odd factor, and the upper half down onto the lower, as
 * a product's upper bits know all of its factors. Who does not know them cannot choose two flows that meet
 * (Dietzfelbinger and others, 1997, on such products); SipHash would resist also those who see which
 * member answers them, at three times the time, but they need no hash: they see whom they reach.
 */
static __always_inline __u64 stir(__u64 hash, const __u64 key[2])
{
	hash = (hash ^ key[0]) * key[1];
	return hash ^ hash >> 32;
}

static __always_inline __u64 hash_of(const struct service *service, const struct source *source)
{
	return stir(stir(source->first, &service->key[0]) ^ source->last, &service->key[2]);
}

static __always_inline void source_ipv4(struct source *source, const struct service *service, __u32 address,
					__u32 port, __u32 endpoint)
{
	/* The port lowest: a product carries each bit upwards only. */
	source->first = (__u64)address << 16 | (port & service->hashed_port);
	source->last = endpoint & service->hashed_endpoint;
}

static __always_inline void source_ipv6(struct source *source, const struct service *service, __u64 upper,
					__u64 lower, __u32 port, __u32 endpoint)
{
	/* Two rounds behind the port too: after one alone a client's ports would stand at even distances. */
	source->first = stir(stir(upper, &service->key[0]) ^ lower, &service->key[0]) ^
			(port & service->hashed_port);
	source->last = endpoint & service->hashed_endpoint;
}

/* Of a flow without ports the protocol is not hashed either: an error that quotes a fragment knows no more. */
static __always_inline void source_of(struct source *source, const struct service *service, const struct flow *flow)
{
	__u32 number = endpoint(flow->protocol, flow->service_port), hashed = flow->service_port ? number : 0;

	if (flow->is_ipv4)
		source_ipv4(source, service, flow->address[0], flow->port, hashed);
	else
		source_ipv6(source, service, flow->address[0], flow->address[1], flow->port, hashed);
	source->traits = number | (flow->is_new ? FLOW_BEGINS : 0) | (flow->is_quoted ? FLOW_IS_QUOTED : 0);
}

/*
 * What a flow is remembered by: its hash, which nobody can aim, and what it was not made of. In mode
 * source-ip a client's flows are one, so that related ports stay together. `era`: since the slot was
 * tracked anew a port may have been used again, unseen, so older records are none.
 */
static __always_inline __u64 identity_of(const struct service *service, __u32 traits, __u64 hash, __u32 era)
{
	__u64 more = (__u64)service->birth << 29 | era;

	if (service->hash_mode != HASH_SOURCE_IP)
		more |= (__u64)(traits & 0xffffff) << 5;
	hash ^= more * 0x9e3779b97f4a7c15ULL;
	/* A product's lowest bits know little of its factors; they choose the bucket. */
	return hash ^ hash >> 31;
}

#endif

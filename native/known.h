/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whose MACs these are: a service's here, a dispatcher's elsewhere, or nobody's. */
#ifndef UNDERSTUDY_KNOWN_H
#define UNDERSTUDY_KNOWN_H

#include "dispatch.h"

static __always_inline const struct state *active_state(void)
{
	const struct state *state = &states[active & 1];

	/* Else the compiler computes an address anew each time, from where its table begins. */
	kept_in_register(state);
	return state;
}

/* MAC << 16, read in parts that are aligned where frames begin at 2 more than a multiple of 4. */
static __always_inline __u64 destination_of(const void *frame)
{
	return (__u64)*(const __u16 *)frame << 16 | (__u64)*(const __u32 *)(frame + 2) << 32;
}

static __always_inline __u64 sender_of(const void *frame)
{
	return (__u64)*(const __u32 *)(frame + 6) << 16 | (__u64)*(const __u16 *)(frame + 10) << 48;
}

/* The number of the service that has this MAC, or ELSEWHERE; more: it is not known. `mac`: << 16. */
static __always_inline __u64 known_mac(const struct state *state, __u64 mac)
{
	const __u64 *bucket = state->buckets[(mac * state->multiplier) >> 53];
	__u64 found = bucket[0] ^ mac;

	if (rarely(found > ELSEWHERE)) {
		kept_in_register(bucket);
#pragma unroll
		for (int way = 1; way < WAYS; way++) {
			found = bucket[way] ^ mac;
			if (found <= ELSEWHERE)
				break;
		}
	}
	return found;
}

/* From a dispatcher, this one or another. Most senders are not known, and one bit says so. */
static __always_inline int is_dispatcher(const struct state *state, const void *frame)
{
	const __u8 *bytes = frame;

	return rarely((state->known >> (bytes[11] & 63)) & 1) && known_mac(state, sender_of(frame)) <= ELSEWHERE;
}

#endif

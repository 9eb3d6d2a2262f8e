/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Flows that have to be remembered: of slots that changed hands, and of UDP where the service asks for
 * it. Bounded, with no locks: two CPUs that write one entry at the same moment lose one of the two.
 *
 * An entry: tag of the flow (36 bits), member's ID (12), present, confirmed, time (14).
 */
#ifndef UNDERSTUDY_FLOWS_H
#define UNDERSTUDY_FLOWS_H

#include "dispatch.h"

#define FLOW_BUCKETS 65536
/* Buckets in one value of the map: 64 values of 32 KB are read at once, 65,536 of 32 bytes take the kernel long. */
#define FLOW_GROUP 1024
#define FLOW_WAYS 4
#define FLOW_TAG 28
#define FLOW_ID 16
#define FLOW_PRESENT 0x8000
/* More than its first packet was seen: it is no stray SYN. */
#define FLOW_CONFIRMED 0x4000
#define FLOW_TIME 0x3fff
/* A flow that was there this lately (a minute or so) gives way to no newcomer. */
#define FLOW_RECENT 64

struct flow_bucket {
	__u64 ways[FLOW_WAYS];
};

struct flow_group {
	struct flow_bucket buckets[FLOW_GROUP];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_BUCKETS / FLOW_GROUP);
	__type(key, __u32);
	__type(value, struct flow_group);
} dispatch_flows SEC(".maps");

struct flow_entry {
	struct flow_bucket *bucket;
	__u64 tag;
	/* What is recorded; 0: nothing. */
	__u64 found;
	/* Its way, or the one that it would get. */
	__u32 way;
	/* How little that one is worth keeping. */
	__u32 worth;
};

/* By age; an unconfirmed one before any confirmed one, a free one before all. */
static __always_inline __u32 worthless(__u64 entry, __u32 now)
{
	__u32 age = (now - (__u32)entry) & FLOW_TIME;

	if (!(entry & FLOW_PRESENT))
		return 0x10000;
	return entry & FLOW_CONFIRMED ? age : 0x8000 | age;
}

static __always_inline int find_flow(struct flow_entry *flow, __u64 identity, __u32 now)
{
	__u32 number = (identity & (FLOW_BUCKETS - 1)) / FLOW_GROUP;
	struct flow_group *group = bpf_map_lookup_elem(&dispatch_flows, &number);

	if (!group)
		return 0;
	flow->bucket = &group->buckets[identity & (FLOW_GROUP - 1)];
	kept_in_register(flow->bucket);
	flow->tag = identity >> 16 << FLOW_TAG;
	flow->found = 0;
	flow->way = 0;
	flow->worth = 0;
#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++) {
		__u64 entry = *(volatile __u64 *)&flow->bucket->ways[way];
		__u32 worth = worthless(entry, now);

		if ((entry & FLOW_PRESENT) && ((entry ^ flow->tag) >> FLOW_TAG) == 0) {
			flow->found = entry;
			flow->way = way;
			flow->worth = 0x20000;
		} else if (worth > flow->worth) {
			flow->way = way;
			flow->worth = worth;
		}
	}
	return 1;
}

static __always_inline void record_flow(struct flow_entry *flow, __u32 id, __u32 confirmed, __u32 now)
{
	__u64 entry = flow->tag | ((__u64)(id & (MOST_IDS - 1)) << FLOW_ID) | FLOW_PRESENT |
		      (confirmed ? FLOW_CONFIRMED : 0) | (now & FLOW_TIME);

	/* Established flows come first: a flood of SYNs must not wash them away. */
	if (!confirmed && flow->worth < FLOW_RECENT)
		return;
	if (entry != flow->found)
		*(volatile __u64 *)&flow->bucket->ways[flow->way & (FLOW_WAYS - 1)] = entry;
}

#endif

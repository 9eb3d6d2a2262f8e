/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the dispatcher decides by, and what it counts. src/dispatch/state-bytes.ts and ring-bytes.ts
 * write `struct state` and `struct ring` byte for byte; the kernel refuses a value of another size.
 */
#ifndef UNDERSTUDY_DISPATCH_H
#define UNDERSTUDY_DISPATCH_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Prime, as Maglev wants it (Eisenbud and others, NSDI 2016). */
#define SLOTS 65537
#define MOST_SERVICES 1024
/* Of one ring. */
#define MOST_MEMBERS 1024
/* Of all rings of this host together: what a recorded flow names its member by. */
#define MOST_IDS 4096
#define MOST_RINGS 256
#define MOST_RANGES 32

/* In a slot: a member's place in its ring, or nobody. */
#define NO_MEMBER 0x7fff
/* Flag of a slot: flows of it may be somebody else's, so they are looked up. */
#define TRACKED 0x8000
/* For an ID that the ring has no use for. */
#define NONE 0xffff
/* In `previous`: a place, or nobody's; above it how often the slot began to be tracked. */
#define PREVIOUS_BITS 11
#define NOBODY 0x7ff

enum hash_mode {
	HASH_SOURCE_IP,
	HASH_SOURCE_IP_PORT,
	HASH_5_TUPLE,
};

struct member {
	__u8 mac[6];
	/* Its ID, and whether it is on this host. */
	__u16 id;
};

#define ID_BITS 0x0fff
#define IS_LOCAL 0x8000

/*
 * Which member a slot goes to. Shared by all services that have the same members in the same state.
 * A ring that a service goes by is never written to; its successor takes its place in one step.
 */
struct ring {
	__u16 slots[SLOTS + 7];
	/* Whose flows of this slot are that nobody recorded; NOBODY: the slot's own member's. */
	__u16 previous[SLOTS + 7];
	struct member members[MOST_MEMBERS];
	/* By ID: its place in `members`; NONE: it may keep no flow. */
	__u16 place_of[MOST_IDS];
};

struct port_range {
	/* Host byte order. */
	__u16 first;
	__u16 last;
	__u32 protocol;
};

struct service {
	__u64 key[2];
	__u8 mac[6];
	/* On a trunk; 0: untagged. */
	__u16 vlan;
	__u32 ipv4;
	__u8 has_ipv4;
	__u8 has_ipv6;
	__u8 has_tcp;
	__u8 has_udp;
	__u64 ipv6[2];
	__u16 hash_mode;
	__u16 ring;
	/* UDP flows stay for as long as they pause no longer than this, in units of `now`; 0: not. */
	__u16 sticky;
	__u16 ranges;
	/* Which of this service's counters stand where: by groups of 16 places in the ring. */
	__u16 counters[MOST_MEMBERS / 16];
	struct port_range ports[MOST_RANGES];
	/* Of this service's time on this host, and no other's: what was recorded before is not its. */
	__u16 birth;
	__u16 unused[3];
};

#define BUCKETS 2048
#define WAYS 4
/* Instead of a service's number: the MAC of a dispatcher elsewhere. */
#define ELSEWHERE 0xffff

/*
 * All services of this host in one value. A new state is written whole into the generation that is not
 * active, then `dispatch_active` is flipped: no packet sees half of it.
 */
struct state {
	/* MAC × multiplier, upper bits: the bucket that the MAC is in if it is known. */
	__u64 multiplier;
	/* One bit for each known MAC, by the bucket's lowest six bits: most sources are not known. */
	__u64 known;
	/* MAC << 16 | number of the service + 1; 0: free. */
	__u64 buckets[BUCKETS][WAYS];
	struct service services[MOST_SERVICES];
};

/* src/dispatch/counters.ts has the same names in the same order. */
enum outcome {
	PASSED,
	DROPPED_LEASE,
	DROPPED_NO_MEMBER,
	DROPPED_MALFORMED,
	DROPPED_TOO_DEEP,
	DROPPED_LOOP,
	/* Counted by member. */
	FORWARDED,
	/* Of no service. */
	NOT_OURS,
	/* More of the frame has to be made readable. */
	UNREAD,
};

/* By service, for frames to its MAC that no member got. */
struct counts {
	__u64 ended[FORWARDED];
};

struct traffic {
	__u64 packets;
	__u64 bytes;
	__u64 flows;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct state);
} dispatch_states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} dispatch_active SEC(".maps");

struct ring_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ring));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MOST_RINGS);
	__type(key, __u32);
	__array(values, struct ring_map);
} dispatch_rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct traffic);
} dispatch_traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MOST_SERVICES);
	__type(key, __u32);
	__type(value, struct counts);
} dispatch_counts SEC(".maps");

/* What user space needs to go on after a restart, by generation; no program reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u8[262144]);
} dispatch_notes SEC(".maps");

#endif

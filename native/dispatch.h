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
/* Places in a ring whose counters stand together. */
#define GROUP 16

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

/* Read as one word. */
struct member {
	/* Its ID, and whether it is on this host. */
	__u16 id;
	__u8 mac[6];
} __attribute__((aligned(8)));

#define ID_BITS 0x0fff
#define IS_LOCAL 0x8000

/*
 * Which member a slot goes to. Shared by all services that have the same members in the same state.
 * A ring that a service goes by is never written to; its successor takes its place in one step.
 */
struct ring {
	struct member members[MOST_MEMBERS];
	__u16 slots[SLOTS + 7];
	/* Whose flows of this slot are that nobody recorded; NOBODY: the slot's own member's. */
	__u16 previous[SLOTS + 7];
	/* By ID: its place in `members`; NONE: it may keep no flow. */
	__u16 place_of[MOST_IDS];
};

/* The way that nearly all packets take stays in one piece. */
#define mostly(condition) __builtin_expect(!!(condition), 1)
#define rarely(condition) __builtin_expect(!!(condition), 0)

/* What it is made of is forgotten: the compiler cannot make it anew further on. */
#define kept_in_register(value) asm volatile("" : "+r"(value))

/* A port of the service as one number. */
static __always_inline __u32 endpoint(__u8 protocol, __u16 port)
{
	return (__u32)protocol << 16 | port;
}

struct port_range {
	/* An `endpoint`; and how many come after it. All ones, and none: unused. */
	__u32 first;
	__u32 more;
};

/* What each packet needs stands together. */
struct service {
	/* Secret words and secret odd factors, in turn: flow-key.h. */
	__u64 key[4];
	__u8 mac[6];
	/* On a trunk; 0: untagged. */
	__u16 vlan;
	/* Which bits are hashed of the client's port, and of what it asks for. */
	__u32 hashed_port;
	__u32 hashed_endpoint;
	/* First byte of a packet to be read quickly: 0x45 where there is an IPv4 address, else nothing's. */
	__u8 quick_ipv4;
	__u8 has_ipv4;
	__u8 has_ipv6;
	__u8 has_tcp;
	__u32 ipv4;
	__u32 ring;
	/* FLOW_IS_UDP where it is sticky, else nothing's. */
	__u32 kept_protocol;
	struct port_range ports[MOST_RANGES];
	/* In which group its counters are, by groups of places in the ring. */
	__u16 groups[MOST_MEMBERS / GROUP];
	__u64 ipv6[2];
	__u16 hash_mode;
	/* UDP flows stay for as long as they pause no longer than this, in units of `now`; 0: not. */
	__u16 sticky;
	/* Of this service's time on this host, and no other's: what was recorded before is not its. */
	__u16 birth;
	__u16 has_udp;
	__u16 unused[20];
};

#define BUCKETS 2048
#define WAYS 4
/* Instead of a service's number: the MAC of a dispatcher elsewhere. */
#define ELSEWHERE 0xffff

/*
 * All services of this host in one value. A new state is written whole into the generation that is not
 * active (the other one's bytes are written again as they are), then `active` is flipped: no packet sees
 * half of it.
 */
struct state {
	/* MAC × multiplier, upper bits: the bucket that the MAC is in if it is known. */
	__u64 multiplier;
	/* One bit for each known MAC, by its lowest six bits: most sources are not known. */
	__u64 known;
	/* MAC << 16 | number of the service; all ones: free. */
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
};

struct traffic_group {
	struct traffic places[GROUP];
};

/* Apart: few packets begin a flow. */
struct flows_group {
	__u64 places[GROUP];
};

/* A global's map is read without a look-up. This one has .bss to itself: other sections stand in the file. */
struct state states[2];
volatile __u32 active SEC(".data.active");

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
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct traffic_group);
} dispatch_traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct flows_group);
} dispatch_begun SEC(".maps");

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

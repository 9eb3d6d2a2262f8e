/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the dispatcher decides by, and what it counts. src/dispatch/generation.ts writes `struct
 * generation` byte for byte; a test compares the sizes.
 */
#ifndef UNDERSTUDY_DISPATCH_H
#define UNDERSTUDY_DISPATCH_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Prime, as Maglev wants it (Eisenbud and others, NSDI 2016). */
#define SLOTS 65537
#define NO_MEMBER 0xffff
#define MOST_MEMBERS 1024

enum hash_mode {
	HASH_SOURCE_IP,
	HASH_SOURCE_IP_PORT,
	HASH_5_TUPLE,
};

struct member {
	__u8 mac[6];
	/* Its slot in `dispatch_traffic`: the same one for as long as the service has this member. */
	__u16 counter;
};

/*
 * All that one state of the service consists of, in one value. A new state is written whole into
 * the generation that is not active, then `dispatch_active` is flipped: no packet sees half of it.
 */
struct generation {
	__u64 key[2];
	/* The service's vMAC. */
	__u8 mac[6];
	__u8 hash_mode;
	__u8 has_ipv4;
	__u8 has_ipv6;
	__u8 unused[3];
	__u8 ipv4[4];
	__u8 ipv6[16];
	/* One bit a port; all zero: the service has no port of this protocol. */
	__u64 tcp_ports[1024];
	__u64 udp_ports[1024];
	__u8 has_tcp;
	__u8 has_udp;
	__u8 unused2[6];
	struct member members[MOST_MEMBERS];
	/* Index into members, or NO_MEMBER. */
	__u16 slots[SLOTS + 3];
};

/* src/dispatch/counters.ts has the same names in the same order. */
enum outcome {
	PASSED,
	DROPPED_LEASE,
	DROPPED_NO_MEMBER,
	DROPPED_MALFORMED,
	DROPPED_TOO_DEEP,
	DROPPED_LOOP,
	DROPPED_WRITE,
	/* Counted by member. */
	FORWARDED,
	OUTCOMES,
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct generation);
} dispatch_gens SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} dispatch_active SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MOST_MEMBERS);
	__type(key, __u32);
	__type(value, struct traffic);
} dispatch_traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} dispatch_counts SEC(".maps");

/* Whose the slots of dispatch_traffic are; only user space reads it, after a restart. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MOST_MEMBERS);
	__type(key, __u32);
	__type(value, char[64]);
} dispatch_names SEC(".maps");

#endif

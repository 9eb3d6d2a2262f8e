/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The lease, without reading the clock for each packet: that costs as much as all the rest. It is read
 * when the kernel's tick went on, and after 64 packets to a member at the latest; so a tick that is held
 * up (a CPU that its hypervisor does not run) lets through no more than those. One tick is taken off the
 * lease for the time in between. Where the guard stands it checks each frame by the clock.
 */
#ifndef UNDERSTUDY_TICK_H
#define UNDERSTUDY_TICK_H

#include "lease.h"

/* The longest there is: 100 Hz. */
#define TICK_NS 10000000ULL
/* A power of two. */
#define MOST_PACKETS 64

struct clock {
	/* Tick << 1 | whether the lease held then: one word, so that no CPU sees half of it. */
	__u64 seen;
	/* Time in units of 2^30 ns. */
	__u64 now;
};

/* Of all CPUs: written once a tick, and when enough packets have gone. */
struct clock clock SEC(".data.clock");

/* `tick`: << 1. */
static __noinline int lease_holds_by_clock(__u64 tick)
{
	volatile struct clock *last = &clock;
	volatile __u64 *deadline_ns;
	__u64 now_ns;
	__u32 slot = 0;
	int holds;

	deadline_ns = bpf_map_lookup_elem(&lease, &slot);
	now_ns = bpf_ktime_get_boot_ns();
	holds = deadline_ns && now_ns + TICK_NS < *deadline_ns;
	last->now = now_ns >> 30;
	last->seen = tick | holds;
	return holds;
}

static __always_inline int lease_holds_by_tick(void)
{
	__u64 tick = bpf_jiffies64() << 1;

	return mostly(((volatile struct clock *)&clock)->seen == (tick | 1)) || lease_holds_by_clock(tick);
}

/* `count`: of packets that went one way, the last `packets` included. */
static __always_inline void look_again(__u64 count, __u32 packets)
{
	if (rarely((count & (MOST_PACKETS - 1)) < packets))
		((volatile struct clock *)&clock)->seen = 0;
}

#endif

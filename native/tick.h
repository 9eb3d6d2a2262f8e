/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The lease, without reading the clock for each packet: that costs as much as all the rest. It is read
 * when the kernel's tick went on, and after 64 packets at the latest; so a tick that is held up (a CPU
 * that its hypervisor does not run) lets through no more than those. One tick is taken off the lease for
 * the time in between. Where the guard stands it checks each frame by the clock.
 */
#ifndef UNDERSTUDY_TICK_H
#define UNDERSTUDY_TICK_H

#include "lease.h"
#include "scratch.h"

/* The longest there is: 100 Hz. */
#define TICK_NS 10000000ULL
#define MOST_PACKETS 64

static __always_inline int lease_holds_by_tick(struct cpu *cpu)
{
	__u64 tick = bpf_jiffies64();

	if (cpu->tick != tick || cpu->packets_left == 0) {
		__u32 slot = 0;
		volatile __u64 *deadline_ns = bpf_map_lookup_elem(&lease, &slot);
		__u64 now_ns = bpf_ktime_get_boot_ns();

		cpu->holds = deadline_ns && now_ns + TICK_NS < *deadline_ns;
		cpu->now = now_ns >> 30;
		cpu->tick = tick;
		cpu->packets_left = MOST_PACKETS;
	}
	cpu->packets_left--;
	return cpu->holds;
}

#endif

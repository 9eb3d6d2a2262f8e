/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The right of this host's incarnation to be on its networks, as the kernel enforces it. `lease` is
 * the map that pulse raises: it is pinned, made before any program is loaded, and given to each of
 * them in place of the definition here.
 */
#ifndef UNDERSTUDY_LEASE_H
#define UNDERSTUDY_LEASE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Slot 0: deadline in ns of the boot clock. 0: never held; all ones: no limit. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lease SEC(".maps");

/* At the deadline itself the lease is over: controllers count from there. */
static __always_inline int lease_holds(void)
{
	__u32 slot = 0;
	volatile __u64 *deadline_ns = bpf_map_lookup_elem(&lease, &slot);

	/* CLOCK_BOOTTIME goes on through suspend: a host that slept wakes up without a lease. */
	return deadline_ns && bpf_ktime_get_boot_ns() < *deadline_ns;
}

#endif

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The guard: no frame passes a virtual NIC, in or out, after this host's lease ended. It needs no
 * process to be awake. Attached by tc (clsact) as the first filter at both hooks.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "lease.h"

enum counter {
	IN_PASSED,
	IN_DROPPED,
	OUT_PASSED,
	OUT_DROPPED,
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} guard_counters SEC(".maps");

static __always_inline int judge(__u32 passed, __u32 dropped)
{
	int holds = lease_holds();
	__u32 slot = holds ? passed : dropped;
	__u64 *count = bpf_map_lookup_elem(&guard_counters, &slot);

	if (count)
		(*count)++;
	/* Not OK: the filters after this one decide too (cls_bpf: UNSPEC means continue). */
	return holds ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

SEC("tc")
int us_guard_in(struct __sk_buff *skb)
{
	return judge(IN_PASSED, IN_DROPPED);
}

SEC("tc")
int us_guard_out(struct __sk_buff *skb)
{
	return judge(OUT_PASSED, OUT_DROPPED);
}

/* bpf_ktime_get_boot_ns() is for GPL-compatible programs only. */
char LICENSE[] SEC("license") = "GPL";

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The clocks a guard could read, each alone: bench/guard.ts says which one costs what. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int boot_clock(struct __sk_buff *skb)
{
	return bpf_ktime_get_boot_ns() == 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int coarse_clock(struct __sk_buff *skb)
{
	return bpf_ktime_get_coarse_ns() == 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int jiffies(struct __sk_buff *skb)
{
	return bpf_jiffies64() == 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";

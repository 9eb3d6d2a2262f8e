// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* What running any tc program costs by itself: bench/guard.ts measures the guard against it. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int bare(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What bench/dispatch.ts measures: the dispatcher as it is, and what it is measured against. Before each
 * run the frame becomes another flow's, in all of them alike.
 */
#include "../native/dispatch.bpf.c"

struct flows {
	__u64 count;
	/* Numbers less one, of powers of two. */
	__u32 flow_mask;
	__u32 service_mask;
	__u32 tcp_flags;
	/* Sum of the IPv4 header without source, destination and checksum. */
	__u32 sum;
	__u64 frame[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flows);
} bench_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} bench_sunk SEC(".maps");

static __always_inline void set_macs(void *data, __u32 service, __u16 last)
{
	/* In the parts in which they are read: a read of several writes waits for them. */
	*(__u16 *)data = bpf_htons(0x0200);
	*(__u32 *)(data + 2) = bpf_htonl(service);
	*(__u32 *)(data + 6) = bpf_htonl(0x0200aaaa);
	*(__u16 *)(data + 10) = last;
}

/* Another source address and port, and another service. */
static __always_inline int next_flow(void *data, void *end)
{
	__u32 zero = 0, flow, service;
	struct flows *flows = bpf_map_lookup_elem(&bench_flows, &zero);

	if (!flows || data + 60 > end)
		return 0;
	flow = (__u32)((flows->count * 0x9e3779b97f4a7c15ULL) >> 20) & flows->flow_mask;
	service = (__u32)((flows->count++ * 0x85ebca6bULL) >> 12) & flows->service_mask;
	set_macs(data, service, 0xbbbb);
	*(__u32 *)(data + 26) = bpf_htonl(0x0b000000 + (flow >> 10));
	*(__u32 *)(data + 30) = bpf_htonl(0x0a010000 + service);
	*(__u16 *)(data + 34) = bpf_htons(1024 + (flow & 1023) * 61);
	*(__u8 *)(data + 47) = flows->tcp_flags;
	return 1;
}

SEC("xdp")
int bench_xdp_bare(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;

	if (!next_flow(data, end))
		return XDP_ABORTED;
	set_macs(data, 1, 0xcccc);
	return XDP_TX;
}

SEC("xdp")
int bench_xdp_core(struct xdp_md *xdp)
{
	if (!next_flow((void *)(long)xdp->data, (void *)(long)xdp->data_end))
		return XDP_ABORTED;
	return dispatch_xdp(xdp);
}

SEC("tc")
int bench_tc_bare(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (!next_flow(data, end))
		return TC_ACT_SHOT;
	set_macs(data, 1, 0xcccc);
	return bpf_redirect(skb->ifindex, 0);
}

SEC("tc")
int bench_tc_core(struct __sk_buff *skb)
{
	if (!next_flow((void *)(long)skb->data, (void *)(long)skb->data_end))
		return TC_ACT_SHOT;
	return dispatch_skb(skb);
}

/* End to end: sends, takes in, does nothing but change the MACs. */
SEC("xdp")
int bench_generate(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	__u32 zero = 0, sum;
	struct flows *flows = bpf_map_lookup_elem(&bench_flows, &zero);
	__u16 *words = data;

	if (!flows || data + 60 > end)
		return XDP_ABORTED;
	__builtin_memcpy(data, flows->frame, 56);
	if (!next_flow(data, end))
		return XDP_ABORTED;
	sum = flows->sum + words[13] + words[14] + words[15] + words[16];
	sum = (sum & 0xffff) + (sum >> 16);
	words[12] = ~((sum & 0xffff) + (sum >> 16));
	return XDP_TX;
}

static __always_inline void sunk(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&bench_sunk, &zero);

	if (count)
		(*count)++;
}

SEC("xdp")
int bench_sink(struct xdp_md *xdp)
{
	sunk();
	return XDP_DROP;
}

SEC("tc")
int bench_tc_sink(struct __sk_buff *skb)
{
	sunk();
	return TC_ACT_SHOT;
}

SEC("xdp")
int bench_pass(struct xdp_md *xdp)
{
	return XDP_PASS;
}

SEC("xdp")
int bench_xdp_noop(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;

	if (data + ETH_HLEN > end)
		return XDP_ABORTED;
	set_macs(data, 1, 0xcccc);
	return XDP_TX;
}

SEC("tc")
int bench_tc_noop(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + ETH_HLEN > end)
		return TC_ACT_SHOT;
	set_macs(data, 1, 0xcccc);
	return bpf_redirect(skb->ifindex, 0);
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The dispatcher: hands what clients send to a service's shared address to its members, by a hash of
 * the packet's source. Layer 2 direct server return: only the MAC addresses change, the member holds
 * the shared address itself and answers the client. One core, two entry points:
 *
 *  - us_dispatch, by tc at ingress of the shared address's own macvlan, behind the guard; what it
 *    sends leaves through the same NIC, past the guard there. In every fabric.
 *  - us_dispatch_xdp, on the NIC of a plain or tagged network, for what comes from other machines.
 *
 * What becomes of a frame to a service's MAC:
 *
 *  - Not for the shared address, or not a port of the service (ARP, neighbour discovery, echo): the
 *    stack's, which is this host's.
 *  - A fragment, the first included, goes by its address alone: the others have no ports. So in the
 *    modes that use ports it may go to another member than the flow's whole packets do.
 *  - An ICMP error goes to the member whose packet it quotes: by the tuple in it, reversed.
 *  - A flow that began before its slot changed hands stays where it is; src/dispatch/ring.ts says how.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "quick.h"

/* Pulled in when a frame's headers are not linear: all that is ever looked at. */
#define PULLED_BYTES 512

/* Frames are counted once each: by member, or here. */
static __always_inline void count(__u32 number, enum outcome outcome, __u32 packets)
{
	struct counts *counts = bpf_map_lookup_elem(&dispatch_counts, &number);

	if (!counts)
		return;
	if (outcome < FORWARDED)
		counts->ended[outcome] += packets;
}

/* The long way to what read_quickly finds: FORWARDED, and whose it is in `source`; or what becomes of it. */
static __always_inline enum outcome read_slowly(struct packet *packet, __be16 protocol, __u32 start,
						struct source *source)
{
	__u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&dispatch_scratch, &zero);
	enum outcome outcome;

	/* One more tag, or a provider's, is another network. */
	if (!scratch || protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD))
		return NOT_OURS;
	*scratch = (struct scratch){};
	packet->at = &scratch->at;
	packet->flow = &scratch->flow;
	outcome = judge(packet, protocol, start);
	read_again();
	if (outcome == FORWARDED)
		source_of(source, packet->service, &scratch->flow);
	return outcome;
}

/*
 * `vlan`: a tag that the frame no longer carries itself. `trunk`: the service is in its VLAN here, else
 * the frame is in none. `is_local`: out of a forwarded frame, whether its member is on this host.
 */
static __always_inline enum outcome dispatch_slowly(const struct frame *frame, __u32 vlan, int trunk,
						    __u32 packets, int *is_local)
{
	struct packet packet = { .frame = *frame };
	const struct state *state = active_state();
	struct source source = {};
	__u32 start = ETH_HLEN;
	enum outcome outcome;
	__be16 protocol;
	__u64 number;

	if (frame->data + ETH_HLEN > frame->end)
		return NOT_OURS;
	/* A broadcast frame with a unicast packet inside is nobody's. */
	number = known_mac(state, destination_of(frame->data));
	if (number >= MOST_SERVICES)
		return NOT_OURS;
	packet.service = &state->services[number];
	kept_in_register(packet.service);
	protocol = *(const __be16 *)(frame->data + 12);
	if (protocol == bpf_htons(ETH_P_8021Q)) {
		const __be16 *tag = read_at(frame, ETH_HLEN, 4);

		if (!tag || vlan)
			return NOT_OURS;
		vlan = bpf_ntohs(tag[0]) & 0xfff;
		protocol = tag[1];
		start = TAGGED;
	}
	if (vlan != (trunk ? packet.service->vlan : 0))
		return NOT_OURS;
	outcome = read_slowly(&packet, protocol, start, &source);
	if (outcome >= NOT_OURS)
		return outcome;
	if (outcome == FORWARDED) {
		/* Once more would be a loop. */
		if (is_dispatcher(state, frame->data))
			outcome = DROPPED_LOOP;
		/* The guards on the way check it too, but this program need not be behind one. */
		else if (!lease_holds_by_tick())
			outcome = DROPPED_LEASE;
		else
			outcome = hand_over(frame, packet.service, &source, packets, is_local);
	}
	count(number, outcome, packets);
	return outcome;
}

static __always_inline __u32 packets_of(const struct __sk_buff *skb)
{
	return skb->gso_segs > 1 ? skb->gso_segs : 1;
}

static __noinline int dispatch_skb_slowly(struct __sk_buff *skb)
{
	struct frame frame = frame_of_skb(skb);
	int is_local = 0;
	enum outcome outcome = dispatch_slowly(&frame, skb->vlan_tci & 0xfff, 0, packets_of(skb), &is_local);

	if (outcome == FORWARDED)
		return bpf_redirect(skb->ifindex, 0);
	/* In again by the same door, when all that can be asked for is readable. */
	if (outcome == UNREAD && !bpf_skb_pull_data(skb, skb->len < PULLED_BYTES ? skb->len : PULLED_BYTES))
		return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	return outcome == PASSED || outcome == NOT_OURS ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

static __noinline int dispatch_xdp_slowly(struct xdp_md *xdp)
{
	struct frame frame = frame_of_xdp(xdp);
	int is_local = 0;
	enum outcome outcome = dispatch_slowly(&frame, 0, 1, 1, &is_local);

	/* On this host the stack finds the member, by its MAC. */
	if (outcome == FORWARDED)
		return is_local ? XDP_PASS : XDP_TX;
	return outcome == PASSED || outcome == NOT_OURS ? XDP_PASS : XDP_DROP;
}

static __always_inline int dispatch_skb(struct __sk_buff *skb)
{
	enum outcome outcome = UNREAD;
	int is_local = 0;

	if (mostly(lease_holds_by_tick())) {
		struct frame frame = frame_of_skb(skb);

		outcome = dispatch_quickly(&frame, skb->vlan_tci & 0xfff, 0, packets_of(skb), &is_local);
	}
	if (mostly(outcome == FORWARDED))
		return bpf_redirect(skb->ifindex, 0);
	return outcome == NOT_OURS ? TC_ACT_UNSPEC : dispatch_skb_slowly(skb);
}

static __always_inline int dispatch_xdp(struct xdp_md *xdp)
{
	enum outcome outcome = UNREAD;
	int is_local = 0;

	if (mostly(lease_holds_by_tick())) {
		struct frame frame = frame_of_xdp(xdp);

		outcome = dispatch_quickly(&frame, 0, 1, 1, &is_local);
	}
	if (mostly(outcome == FORWARDED))
		return is_local ? XDP_PASS : XDP_TX;
	return outcome == NOT_OURS ? XDP_PASS : dispatch_xdp_slowly(xdp);
}

SEC("tc")
int us_dispatch(struct __sk_buff *skb)
{
	return dispatch_skb(skb);
}

SEC("xdp")
int us_dispatch_xdp(struct xdp_md *xdp)
{
	return dispatch_xdp(xdp);
}

char LICENSE[] SEC("license") = "GPL";

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
#include "dispatch.h"
#include "flows.h"
#include "judge.h"
#include "tick.h"

/* Pulled in when a frame's headers are not linear: all that is ever looked at. */
#define PULLED_BYTES 512

/* By halves: in a frame it stands at an odd multiple of 2. */
static __always_inline __u64 mac_at(const void *at)
{
	const __u16 *halves = at;

	return halves[0] | (__u64)halves[1] << 16 | (__u64)halves[2] << 32;
}

static __always_inline const struct state *active_state(void)
{
	__u32 slot = 0;
	const __u32 *active = bpf_map_lookup_elem(&dispatch_active, &slot);

	if (!active)
		return 0;
	slot = *active;
	return bpf_map_lookup_elem(&dispatch_states, &slot);
}

/* The number + 1 of the service that has this MAC; 0: it is not known. */
static __always_inline __u32 known_mac(const struct state *state, __u64 mac)
{
	__u64 bucket = (mac * state->multiplier) >> 53;

	if (!((state->known >> (bucket & 63)) & 1))
		return 0;
#pragma unroll
	for (int way = 0; way < WAYS; way++) {
		__u64 entry = state->buckets[bucket][way];

		if (entry >> 16 == mac && entry)
			return entry & 0xffff;
	}
	return 0;
}


/* Whom a flow belongs to whose slot changed hands, or that is remembered anyway. NO_MEMBER: to nobody. */
static __always_inline __u32 keep(const struct ring *ring, struct packet *packet, __u64 hash, __u32 slot,
				  __u32 now)
{
	const struct service *service = packet->service;
	struct flow *flow = packet->flow;
	__u32 place = ring->slots[slot] & NO_MEMBER;
	__u32 previous = ring->previous[slot] & NOBODY, era = ring->previous[slot] >> PREVIOUS_BITS;
	__u32 sticky = flow->protocol == IPPROTO_UDP ? service->sticky : 0;
	struct flow_entry entry;
	__u32 found = NONE, id;

	/* Those that are sticky are recorded at all times. */
	if (!find_flow(&entry, identity_of(service, flow, hash, sticky ? 0 : era), now))
		return place;
	id = (entry.found >> FLOW_ID) & ID_BITS;
	if (entry.found)
		found = ring->place_of[id];
	if (sticky && ((now - (__u32)entry.found) & FLOW_TIME) > sticky)
		found = NONE;
	/* Another connection from a port that had one; by address alone it is the same client's. */
	if (flow->is_new && service->hash_mode != HASH_SOURCE_IP)
		found = NONE;
	/* Anybody can send an error: it finds a flow and leaves no trace. */
	if (flow->is_quoted)
		return found != NONE ? found : previous != NOBODY ? previous : place;
	if (found != NONE) {
		record_flow(&entry, id, !flow->is_new || (entry.found & FLOW_CONFIRMED), now);
		return found;
	}
	if (flow->protocol == IPPROTO_TCP) {
		if (previous == NOBODY)
			return place;
		if (!flow->is_new)
			place = previous;
	} else {
		if (!sticky)
			return place;
		flow->is_new = 1;
	}
	if (place < MOST_MEMBERS)
		record_flow(&entry, ring->members[place & (MOST_MEMBERS - 1)].id & ID_BITS, !flow->is_new, now);
	return place;
}

/* The ring's member for it; null: nobody can take it. */
static __always_inline const struct member *member_for(struct packet *packet, __u32 now, __u32 *place)
{
	__u32 zero = 0, number = packet->service->ring, slot;
	void *map = bpf_map_lookup_elem(&dispatch_rings, &number);
	const struct ring *ring;
	__u64 hash;

	ring = map ? bpf_map_lookup_elem(map, &zero) : 0;
	if (!ring)
		return 0;
	hash = hash_of(packet->service, packet->flow);
	/* The upper half scaled to the number of slots, without a division. */
	slot = ((hash >> 32) * SLOTS) >> 32;
	if (slot >= SLOTS)
		return 0;
	*place = ring->slots[slot];
	if ((*place & TRACKED) || (packet->service->sticky && packet->flow->protocol == IPPROTO_UDP))
		*place = keep(ring, packet, hash, slot, now);
	if (*place >= MOST_MEMBERS)
		return 0;
	/* Its bound where the verifier looks for it; the compiler would move the check elsewhere. */
	asm volatile("%0 &= 1023" : "+r"(*place));
	return &ring->members[*place];
}

static __always_inline void count(__u32 number, enum outcome outcome, __u32 packets)
{
	struct counts *counts = bpf_map_lookup_elem(&dispatch_counts, &number);

	if (!counts)
		return;
	if (outcome < FORWARDED)
		counts->ended[outcome] += packets;
}

static __always_inline void count_traffic(const struct packet *packet, __u32 place, __u32 packets)
{
	__u32 number = packet->service->counters[(place >> 4) & (MOST_MEMBERS / 16 - 1)] + (place & 15);
	struct traffic *traffic = bpf_map_lookup_elem(&dispatch_traffic, &number);

	if (!traffic)
		return;
	/* A batch that the stack made of several packets (GRO) counts as those. */
	traffic->packets += packets;
	traffic->bytes += packet->frame.bytes;
	traffic->flows += packet->flow->is_new;
}

/* Rewrites both addresses: with the client's as source, a switch would learn the client on our port. */
static __always_inline void rewrite(struct ethhdr *ethernet, const struct service *service,
				    const struct member *member)
{
	__u16 *to = (__u16 *)ethernet->h_dest, *from = (__u16 *)ethernet->h_source;
	const __u16 *other = (const __u16 *)member->mac, *own = (const __u16 *)service->mac;

#pragma unroll
	for (int at = 0; at < 3; at++) {
		to[at] = other[at];
		from[at] = own[at];
	}
}

/*
 * `vlan`: a tag that the frame no longer carries itself. `trunk`: the service is in its VLAN here, else
 * the frame is in none. `is_local`: out of a forwarded frame, whether its member is on this host.
 */
static __always_inline enum outcome dispatch(struct packet *packet, __u32 vlan, int trunk, __u32 packets,
					     int *is_local)
{
	struct ethhdr *ethernet = packet->frame.data;
	__u32 zero = 0, start = ETH_HLEN, number, place;
	const struct member *member;
	const struct state *state;
	enum outcome outcome;
	struct cpu *cpu;
	__be16 protocol;

	if ((void *)(ethernet + 1) > packet->frame.end)
		return NOT_OURS;
	cpu = bpf_map_lookup_elem(&dispatch_cpus, &zero);
	state = active_state();
	if (!cpu || !state)
		return NOT_OURS;
	/* A broadcast frame with a unicast packet inside is nobody's. */
	number = known_mac(state, mac_at(ethernet->h_dest)) - 1;
	if (number >= MOST_SERVICES)
		return NOT_OURS;
	packet->service = &state->services[number];
	protocol = ethernet->h_proto;
	if (protocol == bpf_htons(ETH_P_8021Q)) {
		const __be16 *tag = read_at(&packet->frame, ETH_HLEN, 4);

		if (!tag || vlan)
			return NOT_OURS;
		vlan = bpf_ntohs(tag[0]) & 0xfff;
		protocol = tag[1];
		start += 4;
	}
	/* One more tag, or a provider's, is another network. */
	if (protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD))
		return NOT_OURS;
	if (vlan != (trunk ? packet->service->vlan : 0))
		return NOT_OURS;
	cpu->at = (struct transport){};
	cpu->flow = (struct flow){};
	packet->at = &cpu->at;
	packet->flow = &cpu->flow;
	outcome = judge(packet, protocol, start);
	if (outcome == UNREAD)
		return outcome;
	read_again();
	if (outcome == FORWARDED) {
		/* From a dispatcher, this one or another: once more would be a loop. */
		if (known_mac(state, mac_at(ethernet->h_source)))
			outcome = DROPPED_LOOP;
		/* The guards on the way check it too, but this program need not be behind one. */
		else if (!lease_holds_by_tick(cpu))
			outcome = DROPPED_LEASE;
	}
	if (outcome == FORWARDED) {
		member = member_for(packet, cpu->now, &place);
		if (member) {
			rewrite(ethernet, packet->service, member);
			*is_local = (member->id & IS_LOCAL) != 0;
			count_traffic(packet, place, packets);
		} else {
			outcome = DROPPED_NO_MEMBER;
		}
	}
	/* Each frame is counted once: by member, or here. */
	if (outcome != FORWARDED)
		count(number, outcome, packets);
	return outcome;
}

static __always_inline int dispatch_skb(struct __sk_buff *skb)
{
	struct packet packet = { .frame = frame_of_skb(skb) };
	int is_local = 0;
	enum outcome outcome = dispatch(&packet, skb->vlan_tci & 0xfff, 0,
					skb->gso_segs > 1 ? skb->gso_segs : 1, &is_local);

	if (outcome == FORWARDED)
		return bpf_redirect(skb->ifindex, 0);
	/* In again by the same door, when all that can be asked for is readable. */
	if (outcome == UNREAD && !bpf_skb_pull_data(skb, skb->len < PULLED_BYTES ? skb->len : PULLED_BYTES))
		return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	return outcome == PASSED || outcome == NOT_OURS ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

static __always_inline int dispatch_xdp(struct xdp_md *xdp)
{
	struct packet packet = { .frame = frame_of_xdp(xdp) };
	int is_local = 0;
	enum outcome outcome = dispatch(&packet, 0, 1, 1, &is_local);

	/* On this host the stack finds the member, by its MAC. */
	if (outcome == FORWARDED)
		return is_local ? XDP_PASS : XDP_TX;
	return outcome == PASSED || outcome == NOT_OURS ? XDP_PASS : XDP_DROP;
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

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
#include "quick.h"
#include "tick.h"

/* Pulled in when a frame's headers are not linear: all that is ever looked at. */
#define PULLED_BYTES 512

#define TAGGED (ETH_HLEN + 4)

/* Else the compiler computes an address anew each time, from where its table begins. */
#define kept_in_register(pointer) asm volatile("" : "+r"(pointer))

/* MAC << 16, read in parts that are aligned where frames begin at 2 more than a multiple of 4. */
static __always_inline __u64 destination_of(const void *frame)
{
	return (__u64)*(const __u16 *)frame << 16 | (__u64)*(const __u32 *)(frame + 2) << 32;
}

static __always_inline __u64 sender_of(const void *frame)
{
	return (__u64)*(const __u32 *)(frame + 6) << 16 | (__u64)*(const __u16 *)(frame + 10) << 48;
}

/* The number of the service that has this MAC, or ELSEWHERE; more: it is not known. `mac`: << 16. */
static __always_inline __u64 known_mac(const struct state *state, __u64 mac)
{
	const __u64 *bucket = state->buckets[(mac * state->multiplier) >> 53];
	__u64 found = bucket[0] ^ mac;

	if (rarely(found > ELSEWHERE)) {
		kept_in_register(bucket);
#pragma unroll
		for (int way = 1; way < WAYS; way++) {
			found = bucket[way] ^ mac;
			if (found <= ELSEWHERE)
				break;
		}
	}
	return found;
}

/* From a dispatcher, this one or another. Most senders are not known, and one bit says so. */
static __always_inline int is_dispatcher(const struct state *state, const void *frame)
{
	const __u8 *bytes = frame;

	return rarely((state->known >> (bytes[11] & 63)) & 1) && known_mac(state, sender_of(frame)) <= ELSEWHERE;
}

/* Whom a flow belongs to whose slot changed hands, or that is remembered anyway. NO_MEMBER: to nobody. */
static __always_inline __u32 keep(const struct ring *ring, const struct service *service, __u32 *traits,
				  __u64 hash, __u32 slot)
{
	__u32 place = ring->slots[slot] & NO_MEMBER, now = ((volatile struct clock *)&clock)->now;
	__u32 previous = ring->previous[slot] & NOBODY, era = ring->previous[slot] >> PREVIOUS_BITS;
	__u32 sticky = (*traits & FLOW_PROTOCOL_BITS) == FLOW_IS_UDP ? service->sticky : 0;
	int is_new = (*traits & FLOW_IS_NEW) != 0;
	struct flow_entry entry;
	__u32 found = NONE, id;

	/* Those that are sticky are recorded at all times. */
	if (!find_flow(&entry, identity_of(service, *traits, hash, sticky ? 0 : era), now))
		return place;
	id = (entry.found >> FLOW_ID) & ID_BITS;
	if (entry.found)
		found = ring->place_of[id];
	if (sticky && ((now - (__u32)entry.found) & FLOW_TIME) > sticky)
		found = NONE;
	/* Another connection from a port that had one; by address alone it is the same client's. */
	if (is_new && service->hash_mode != HASH_SOURCE_IP)
		found = NONE;
	/* Anybody can send an error: it finds a flow and leaves no trace. */
	if (*traits & FLOW_IS_QUOTED)
		return found != NONE ? found : previous != NOBODY ? previous : place;
	if (found != NONE) {
		record_flow(&entry, id, !is_new || (entry.found & FLOW_CONFIRMED), now);
		return found;
	}
	if ((*traits & FLOW_PROTOCOL_BITS) == FLOW_IS_TCP) {
		if (previous == NOBODY)
			return place;
		if (!is_new)
			place = previous;
	} else {
		if (!sticky)
			return place;
		is_new = 1;
		*traits |= FLOW_IS_NEW;
	}
	if (place < MOST_MEMBERS)
		record_flow(&entry, ring->members[place & (MOST_MEMBERS - 1)].id & ID_BITS, !is_new, now);
	return place;
}

/* The ring's member for it; null: nobody can take it. */
static __always_inline const struct member *member_for(const struct service *service, struct source *source,
						       __u32 *place)
{
	void *map = bpf_map_lookup_elem(&dispatch_rings, &service->ring);
	const struct ring *ring;
	__u32 zero = 0, slot;
	__u64 hash;

	ring = map ? bpf_map_lookup_elem(map, &zero) : 0;
	if (!ring)
		return 0;
	hash = hash_of(service, source);
	/* The upper half scaled to the number of slots, without a division. */
	slot = ((hash >> 32) * SLOTS) >> 32;
	if (slot >= SLOTS)
		return 0;
	*place = ring->slots[slot];
	if (rarely(*place & TRACKED) || rarely((source->traits & FLOW_PROTOCOL_BITS) == service->kept_protocol))
		*place = keep(ring, service, &source->traits, hash, slot);
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

static __always_inline void count_traffic(const struct service *service, __u32 place, __u32 packets, __u32 bytes,
					  int is_new)
{
	__u32 number = service->groups[0];
	struct traffic_group *group;
	struct flows_group *begun;
	struct traffic *traffic;

	/* Where there is but one group its address does not wait for the place. */
	if (rarely(place >= GROUP))
		number = service->groups[(place / GROUP) & (MOST_MEMBERS / GROUP - 1)];
	group = bpf_map_lookup_elem(&dispatch_traffic, &number);
	if (!group)
		return;
	traffic = &group->places[place & (GROUP - 1)];
	/* A batch that the stack made of several packets (GRO) counts as those. */
	traffic->packets += packets;
	traffic->bytes += bytes;
	look_again(traffic->packets, packets);
	if (rarely(is_new)) {
		begun = bpf_map_lookup_elem(&dispatch_begun, &number);
		if (begun)
			begun->places[place & (GROUP - 1)]++;
	}
}

/* Rewrites both addresses: with the client's as source, a switch would learn the client on our port. */
static __always_inline void rewrite(void *frame, const struct service *service, const struct member *member)
{
	*(__u16 *)frame = *(const __u16 *)member->mac;
	*(__u32 *)(frame + 2) = *(const __u32 *)(member->mac + 2);
	*(__u32 *)(frame + 6) = *(const __u32 *)service->mac;
	*(__u16 *)(frame + 10) = *(const __u16 *)(service->mac + 4);
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
static __always_inline enum outcome dispatch(struct packet *packet, __u32 vlan, int trunk, __u32 packets,
					     int *is_local)
{
	void *frame = packet->frame.data;
	__u32 start = ETH_HLEN, place;
	__u64 number;
	const struct service *service;
	const struct member *member;
	const struct state *state;
	struct source source = {};
	enum outcome outcome;
	__be16 protocol;

	if (frame + ETH_HLEN > packet->frame.end)
		return NOT_OURS;
	state = &states[active & 1];
	kept_in_register(state);
	/* A broadcast frame with a unicast packet inside is nobody's. */
	number = known_mac(state, destination_of(frame));
	if (number >= MOST_SERVICES)
		return NOT_OURS;
	service = &state->services[number];
	kept_in_register(service);
	packet->service = service;
	protocol = *(const __be16 *)(frame + 12);
	if (rarely(protocol == bpf_htons(ETH_P_8021Q))) {
		const __be16 *tag = read_at(&packet->frame, ETH_HLEN, 4);

		if (!tag || vlan)
			return NOT_OURS;
		vlan = bpf_ntohs(tag[0]) & 0xfff;
		protocol = tag[1];
		start = TAGGED;
	}
	if (vlan != (trunk ? service->vlan : 0))
		return NOT_OURS;
	/* With a start that is known both are shorter. */
	outcome = start == TAGGED ? read_quickly(service, &packet->frame, protocol, TAGGED, &source)
				  : read_quickly(service, &packet->frame, protocol, ETH_HLEN, &source);
	if (rarely(outcome == UNREAD)) {
		outcome = read_slowly(packet, protocol, start, &source);
		if (outcome >= NOT_OURS)
			return outcome;
	}
	if (mostly(outcome == FORWARDED)) {
		/* Once more would be a loop. */
		if (is_dispatcher(state, frame))
			outcome = DROPPED_LOOP;
		/* The guards on the way check it too, but this program need not be behind one. */
		else if (!lease_holds_by_tick())
			outcome = DROPPED_LEASE;
	}
	if (mostly(outcome == FORWARDED)) {
		member = member_for(service, &source, &place);
		if (member) {
			rewrite(frame, service, member);
			*is_local = (member->id & IS_LOCAL) != 0;
			count_traffic(service, place, packets, packet->frame.bytes,
				      (source.traits & FLOW_IS_NEW) != 0);
			return outcome;
		}
		outcome = DROPPED_NO_MEMBER;
	}
	/* Each frame is counted once: by member, or here. */
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

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which member gets a packet, and what is done to hand it over. */
#ifndef UNDERSTUDY_MEMBERS_H
#define UNDERSTUDY_MEMBERS_H

#include "flow-key.h"
#include "flows.h"
#include "tick.h"

/* The upper half scaled to the number of slots, without a division. */
static __always_inline __u64 slot_of(__u64 hash)
{
	return ((hash >> 32) * SLOTS) >> 32;
}

/*
 * Whom a flow belongs to whose slot changed hands, or that is remembered anyway. NO_MEMBER: to nobody.
 * With FLOW_BEGINS if it begins. A function of its own: the registers that it needs are not missing on
 * the way that nearly all packets take.
 */
static __noinline __u32 keep(const struct ring *ring, const struct service *service, __u32 traits, __u64 hash)
{
	__u64 slot = slot_of(hash);
	__u32 place = ring->slots[slot] & NO_MEMBER, now = ((volatile struct clock *)&clock)->now;
	__u32 previous = ring->previous[slot] & NOBODY, era = ring->previous[slot] >> PREVIOUS_BITS;
	__u32 sticky = (traits & FLOW_PROTOCOL_BITS) == FLOW_IS_UDP ? service->sticky : 0;
	__u32 is_new = begins(traits) ? FLOW_BEGINS : 0;
	struct flow_entry entry;
	__u32 found = NONE, id;

	/* Those that are sticky are recorded at all times. */
	if (!find_flow(&entry, identity_of(service, traits, hash, sticky ? 0 : era), now))
		return place | is_new;
	id = (entry.found >> FLOW_ID) & ID_BITS;
	if (entry.found)
		found = ring->place_of[id];
	if (sticky && ((now - (__u32)entry.found) & FLOW_TIME) > sticky)
		found = NONE;
	/* Another connection from a port that had one; by address alone it is the same client's. */
	if (is_new && service->hash_mode != HASH_SOURCE_IP)
		found = NONE;
	/* Anybody can send an error: it finds a flow and leaves no trace. */
	if (traits & FLOW_IS_QUOTED)
		return found != NONE ? found : previous != NOBODY ? previous : place;
	if (found != NONE) {
		record_flow(&entry, id, !is_new || (entry.found & FLOW_CONFIRMED), now);
		return found | is_new;
	}
	if ((traits & FLOW_PROTOCOL_BITS) == FLOW_IS_TCP) {
		if (previous == NOBODY)
			return place | is_new;
		if (!is_new)
			place = previous;
	} else {
		if (!sticky)
			return place | is_new;
		is_new = FLOW_BEGINS;
	}
	if (place < MOST_MEMBERS)
		record_flow(&entry, ring->members[place & (MOST_MEMBERS - 1)].id & ID_BITS, !is_new, now);
	return place | is_new;
}

static __always_inline void count_traffic(const struct service *service, __u64 place, __u32 packets, __u64 bytes,
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
static __always_inline void rewrite(void *frame, const struct service *service, __u64 member)
{
	*(__u16 *)frame = member >> 16;
	*(__u32 *)(frame + 2) = member >> 32;
	*(__u32 *)(frame + 6) = *(const __u32 *)service->mac;
	*(__u16 *)(frame + 10) = *(const __u16 *)(service->mac + 4);
}

/* The ring's member for the packet gets it, and is counted; or there is nobody. */
static __always_inline enum outcome hand_over(const struct frame *frame, const struct service *service,
					      const struct source *source, __u32 packets, int *is_local)
{
	__u64 hash = hash_of(service, source), place, member;
	__u32 traits = source->traits, zero = 0;
	const struct ring *ring;
	void *map;

	/* Else the compiler keeps all that it is made of across the look-ups. */
	kept_in_register(hash);
	map = bpf_map_lookup_elem(&dispatch_rings, &service->ring);
	ring = map ? bpf_map_lookup_elem(map, &zero) : 0;
	if (!ring)
		return DROPPED_NO_MEMBER;
	place = ring->slots[slot_of(hash)];
	if (rarely(place & TRACKED) || rarely((traits & FLOW_PROTOCOL_BITS) == service->kept_protocol)) {
		traits = keep(ring, service, traits, hash);
		place = traits & 0xffff;
	}
	if (place >= MOST_MEMBERS)
		return DROPPED_NO_MEMBER;
	/* Its bound where the verifier looks for it; the compiler would move the check elsewhere. */
	asm volatile("%0 &= 1023" : "+r"(place));
	member = *(const __u64 *)&ring->members[place];
	rewrite(frame->data, service, member);
	*is_local = (member & IS_LOCAL) != 0;
	count_traffic(service, place, packets, frame->bytes, begins(traits));
	return FORWARDED;
}

#endif

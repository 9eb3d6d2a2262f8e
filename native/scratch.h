/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a CPU works on with a packet that cannot be read in one go. */
#ifndef UNDERSTUDY_SCRATCH_H
#define UNDERSTUDY_SCRATCH_H

#include "flow-key.h"
#include "packet.h"

struct scratch {
	struct transport at;
	struct flow flow;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} dispatch_scratch SEC(".maps");

/*
 * What stands in the scratch is read again from here on. The verifier knows nothing of it then; else it
 * would look at all that follows anew for each way that a packet can have come, and loading would take
 * a hundred times as long.
 */
static __always_inline void read_again(void)
{
	asm volatile("" ::: "memory");
}

#endif

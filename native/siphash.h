/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * SipHash-1-3 (Aumasson and Bernstein, 2012; the reduced-round form that the kernel's hsiphash uses)
 * under a 128-bit key. src/dispatch/siphash.ts computes the same. Little-endian hosts.
 */
#ifndef UNDERSTUDY_SIPHASH_H
#define UNDERSTUDY_SIPHASH_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are read as little-endian"
#endif

#define rotate_left(word, bits) (((word) << (bits)) | ((word) >> (64 - (bits))))

struct siphash {
	__u64 a, b, c, d;
};

static __always_inline void siphash_round(struct siphash *s)
{
	s->a += s->b;
	s->c += s->d;
	s->b = rotate_left(s->b, 13) ^ s->a;
	s->d = rotate_left(s->d, 16) ^ s->c;
	s->a = rotate_left(s->a, 32);
	s->c += s->b;
	s->a += s->d;
	s->b = rotate_left(s->b, 17) ^ s->c;
	s->d = rotate_left(s->d, 21) ^ s->a;
	s->c = rotate_left(s->c, 32);
}

static __always_inline void siphash_absorb(struct siphash *s, __u64 word)
{
	s->d ^= word;
	siphash_round(s);
	s->a ^= word;
}

static __always_inline struct siphash siphash_start(const __u64 key[2])
{
	struct siphash s = {
		.a = key[0] ^ 0x736f6d6570736575ULL,
		.b = key[1] ^ 0x646f72616e646f6dULL,
		.c = key[0] ^ 0x6c7967656e657261ULL,
		.d = key[1] ^ 0x7465646279746573ULL,
	};

	return s;
}

/* `last`: the bytes behind the last whole word, and the length of all in the uppermost byte. */
static __always_inline __u64 siphash_finish(struct siphash *s, __u64 last)
{
	siphash_absorb(s, last);
	s->c ^= 0xff;
	siphash_round(s);
	siphash_round(s);
	siphash_round(s);
	return s->a ^ s->b ^ s->c ^ s->d;
}

#endif

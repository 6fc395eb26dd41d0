// SPDX-License-Identifier: Apache-2.0
// A bit for each page of a table, from its entries or from its bytes: 64 pages at a time.
#pragma once
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/**
 * Which of 64 entries have any of the bits @a, and which any of @b; both below 1 << 15, where page
 * table entries have their flags on x86-64.
 */
static inline void bits_of_entries(const uint64_t *entries, uint64_t a, uint64_t b, uint64_t *has_a, uint64_t *has_b)
{
	*has_a = *has_b = 0;
#ifdef __SSE2__
	if ((a | b) < 1 << 15) {
		const __m128i low = _mm_set1_epi32(0x7fff), zero = _mm_setzero_si128();
		const __m128i want_a = _mm_set1_epi16((short)a), want_b = _mm_set1_epi16((short)b);

		for (unsigned int i = 0; i < 64; i += 16) {
			__m128i words[2];

			for (unsigned int j = 0; j < 2; j++) {
				const __m128i *at = (const __m128i *)(entries + i + 8 * j);
				__m128 first = _mm_castsi128_ps(_mm_loadu_si128(at)), second = _mm_castsi128_ps(_mm_loadu_si128(at + 1));
				__m128 third = _mm_castsi128_ps(_mm_loadu_si128(at + 2)), fourth = _mm_castsi128_ps(_mm_loadu_si128(at + 3));

				words[j] = _mm_packs_epi32(
					_mm_and_si128(_mm_castps_si128(_mm_shuffle_ps(first, second, 0x88)), low),
					_mm_and_si128(_mm_castps_si128(_mm_shuffle_ps(third, fourth, 0x88)), low));
			}
			__m128i no_a = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_and_si128(words[0], want_a), zero),
						       _mm_cmpeq_epi16(_mm_and_si128(words[1], want_a), zero));
			__m128i no_b = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_and_si128(words[0], want_b), zero),
						       _mm_cmpeq_epi16(_mm_and_si128(words[1], want_b), zero));

			*has_a |= (uint64_t)(~_mm_movemask_epi8(no_a) & 0xffff) << i;
			*has_b |= (uint64_t)(~_mm_movemask_epi8(no_b) & 0xffff) << i;
		}
		return;
	}
#endif
	for (unsigned int i = 0; i < 64; i++) {
		*has_a |= (uint64_t)((entries[i] & a) != 0) << i;
		*has_b |= (uint64_t)((entries[i] & b) != 0) << i;
	}
}

/** Which of 64 bytes are in [low, high]. */
static inline uint64_t bits_of_bytes(const uint8_t *bytes, uint8_t low, uint8_t high)
{
	uint64_t found = 0;
#ifdef __SSE2__
	const __m128i from = _mm_set1_epi8((char)low), width = _mm_set1_epi8((char)(high - low));

	for (unsigned int i = 0; i < 64; i += 16) {
		__m128i above = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(bytes + i)), from);

		// Unsigned comparison: the smaller of both is itself.
		found |= (uint64_t)(unsigned int)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(above, width), above)) << i;
	}
#else
	for (unsigned int i = 0; i < 64; i++)
		found |= (uint64_t)((uint8_t)(bytes[i] - low) <= (uint8_t)(high - low)) << i;
#endif
	return found;
}

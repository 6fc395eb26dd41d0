// SPDX-License-Identifier: Apache-2.0
// Numbers as damo writes them: "4,294,967,296", "143.027 MiB", "3 s 400 ms", "5 %", "max".
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum damo_unit {
	DAMO_COUNT,	// no unit
	DAMO_BYTES,	// B, K, KB, KiB ... EiB, all powers of 1024
	DAMO_NS,	// ns, us, ms, s, m, h, d; a bare number is in ns
	DAMO_US,	// the same; a bare number is in us
	DAMO_MILLI,	// thousandths of what is written; "%" may follow
};

struct damo_number {
	uint64_t value;	// UINT64_MAX for "max", and for what is beyond
	bool negative;
	bool beyond;	// it is above 2^64
	bool split;	// of DAMO_BYTES: a byte of it is told in parts, which were dropped
};

/** Read all of @text; whether it is a number. Parts of the unit are dropped. */
bool damo_number(const char *text, size_t length, enum damo_unit unit, struct damo_number *number);

static inline bool damo_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

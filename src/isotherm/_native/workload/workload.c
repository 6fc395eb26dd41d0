// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "sys/clock.h"
#include "sys/page.h"
#include "workload/workload.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define HUGE_BYTES (2UL << 20)
#define LINE 64
#define CHUNK 1024		// busy accesses between two looks at the clock
#define NAP_NS 50000000		// how soon a stop is noticed

static void sleep_until(uint64_t at_ns)
{
	struct timespec t = {
		.tv_sec = (time_t)(at_ns / SECOND_NS),
		.tv_nsec = (long)(at_ns % SECOND_NS),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static bool stopped(const struct touch_control *control)
{
	return __atomic_load_n(&control->stop, __ATOMIC_RELAXED) != 0;
}

// One writer: a plain addition is enough, the store must be whole for the reader.
static void count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

static int make_usable(const struct touch_area *area, bool shared)
{
	const int access = PROT_READ | PROT_WRITE;

	if (!shared)
		return mprotect(area->start, area->bytes, access) ? -errno : 0;
	void *start = mmap(area->start, area->bytes, access, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return start == MAP_FAILED ? -errno : 0;
}

int touch_area_init(struct touch_area *area, size_t bytes, bool huge, bool shared)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	size_t reserved_bytes;
	uintptr_t start;
	void *reserved;

	*area = (struct touch_area){0};
	if (!bytes || bytes % PAGE)
		return -EINVAL;
	if (__builtin_add_overflow(bytes, 3 * HUGE_BYTES, &reserved_bytes))
		return -ENOMEM;
	reserved = mmap(NULL, reserved_bytes, PROT_NONE, flags, -1, 0);
	if (reserved == MAP_FAILED)
		return -errno;
	area->reserved = reserved;
	area->reserved_bytes = reserved_bytes;
	start = ((uintptr_t)reserved + 2 * HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
	area->start = (uint8_t *)start;
	area->bytes = bytes;
	int err = make_usable(area, shared);

	if (err) {
		touch_area_deinit(area);
		return err;
	}
	// Advice: a kernel without transparent huge pages refuses it and needs none.
	(void)madvise(area->start, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return 0;
}

void touch_area_deinit(struct touch_area *area)
{
	if (area->reserved)
		munmap(area->reserved, area->reserved_bytes);
	*area = (struct touch_area){0};
}

void touch_populate(const struct touch_area *area)
{
	for (size_t at = 0; at < area->bytes; at += PAGE)
		*(volatile uint8_t *)(area->start + at) = 1;
}

static void read_byte(const uint8_t *at)
{
	(void)*(const volatile uint8_t *)at;
}

/** A bijection of [0, @mask], mask = 2^k - 1: both steps can be undone. */
static uint64_t permute(uint64_t x, uint64_t mask)
{
	x = (x * 0x9e3779b97f4a7c15ULL) & mask;
	x ^= x >> 7;
	return (x * 0xbf58476d1ce4e5b9ULL) & mask;
}

static void pass_over(const struct touch_range *range, uint64_t seed)
{
	const uint64_t pages = (range->bytes + PAGE - 1) / PAGE;
	uint64_t mask = 0;

	if (!range->random) {
		for (uint64_t page = 0; page < pages; page++)
			read_byte(range->start + page * PAGE);
		return;
	}
	while (mask + 1 < pages)
		mask = mask << 1 | 1;
	for (uint64_t i = 0; i <= mask; i++) {
		uint64_t page = permute((i + seed) & mask, mask);

		if (page < pages)
			read_byte(range->start + page * PAGE);
	}
}

/** Pass over what is due; return when the next is due. */
static uint64_t pass_due(const struct touch_range *ranges, uint64_t *due, size_t nr,
			  struct touch_control *control)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < nr; i++) {
		const uint64_t now = monotonic_ns(), period = ranges[i].period_ns;

		if (due[i] <= now) {
			pass_over(&ranges[i], control->passes * 0x9e3779b9);
			count(&control->ops, (ranges[i].bytes + PAGE - 1) / PAGE);
			count(&control->passes, 1);
			if (now - due[i] >= period) {
				count(&control->overruns, (now - due[i]) / period);
				due[i] += (now - due[i]) / period * period;
			}
			due[i] += period;
		}
		if (due[i] < next)
			next = due[i];
	}
	return next;
}

void touch_paced(const struct touch_range *ranges, size_t nr, uint64_t until_ns,
		 struct touch_control *control)
{
	uint64_t *due = calloc(nr ? nr : 1, sizeof(*due));
	const uint64_t start = monotonic_ns();

	if (!due)
		abort();	// a few words, in a process that holds gigabytes
	for (size_t i = 0; i < nr; i++)
		due[i] = start;
	for (uint64_t now = start; now < until_ns && !stopped(control); now = monotonic_ns()) {
		uint64_t wake = nr ? pass_due(ranges, due, nr, control) : UINT64_MAX;

		if (wake > until_ns)
			wake = until_ns;
		if (wake > now + NAP_NS)
			wake = now + NAP_NS;
		sleep_until(wake);
	}
	free(due);
}

static uint64_t xorshift(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/** Uniform in [0, @n) from 64 random bits: the high word of a product. */
static uint64_t below(uint64_t random, uint64_t n)
{
	return (uint64_t)((unsigned __int128)random * n >> 64);
}

static void busy_chunk(const struct touch_range *range, uint64_t *state, uint64_t *cursor)
{
	const uint64_t lines = range->bytes / LINE;

	for (int i = 0; i < CHUNK; i++) {
		uint64_t line;

		if (range->random) {
			line = below(xorshift(state), lines);
		} else {
			line = *cursor;
			*cursor = line + 1 < lines ? line + 1 : 0;
		}
		read_byte(range->start + line * LINE);
	}
}

void touch_busy(const struct touch_range *ranges, size_t nr, uint64_t until_ns,
		struct touch_control *control)
{
	uint64_t *cursors = calloc(nr ? nr : 1, sizeof(*cursors));
	uint64_t state = 88172645463325252ULL, total = 0;

	if (!cursors)
		abort();
	for (size_t i = 0; i < nr; i++)
		total += ranges[i].bytes;
	while (total && monotonic_ns() < until_ns && !stopped(control)) {
		uint64_t at = below(xorshift(&state), total);
		size_t i = 0;

		while (at >= ranges[i].bytes)
			at -= ranges[i++].bytes;
		busy_chunk(&ranges[i], &state, &cursors[i]);
		count(&control->ops, CHUNK);
	}
	free(cursors);
	if (!total)
		touch_paced(ranges, 0, until_ns, control);
}

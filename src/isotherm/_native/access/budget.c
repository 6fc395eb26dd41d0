// SPDX-License-Identifier: Apache-2.0
#include "access/budget.h"

#define SECOND 1000000000LL
#define SMOOTHING 0.3		// weight of a new span
#define CLEAR_SMOOTHING 0.02	// weight of one clear
#define MIN_SHARE 4		// clears keep 1/4 of the target
#define DEPTH_NS 20		// the bucket holds a twentieth of a second

void bucket_add(struct bucket *bucket, int64_t ns)
{
	bucket->tokens += ns;
	if (bucket->tokens > bucket->depth)
		bucket->tokens = bucket->depth;
}

int64_t bucket_fill(struct bucket *bucket, uint64_t now_ns)
{
	int64_t came = 0, had = bucket->tokens;

	if (bucket->filled && now_ns > bucket->filled) {
		uint64_t span = now_ns - bucket->filled;

		if (span > SECOND)
			span = SECOND;
		came = (int64_t)((double)bucket->rate * span / SECOND);
		bucket_add(bucket, came);
	}
	bucket->filled = now_ns;
	return had + came - bucket->tokens < came ? had + came - bucket->tokens : came;
}

void budget_init(struct budget *budget, int64_t target_ns, double clear_ns)
{
	*budget = (struct budget){.target = target_ns, .clear_ns = clear_ns};
	budget->clears.rate = target_ns / 2;
	budget->clears.depth = target_ns / DEPTH_NS;
}

void budget_other(struct budget *budget, int64_t ns, uint64_t now_ns)
{
	if (!budget->span_begin)
		budget->span_begin = now_ns;
	else
		budget->other += ns > 0 ? ns : 0;
	uint64_t span = now_ns - budget->span_begin;

	if (span >= BUDGET_SPAN_NS) {
		double rate = (double)budget->other * SECOND / span;
		int64_t left;

		budget->other_rate += (budget->other_rate ? SMOOTHING : 1) * (rate - budget->other_rate);
		left = budget->target - (int64_t)budget->other_rate;
		budget->clears.rate = left > budget->target / MIN_SHARE ? left : budget->target / MIN_SHARE;
		budget->other = 0;
		budget->span_begin = now_ns;
	}
	bucket_fill(&budget->clears, now_ns);
}

size_t budget_affords(const struct budget *budget)
{
	// One clear may always be dearer than the bucket is deep.
	if (budget->clears.tokens <= 0)
		return 0;
	double nr = budget->clears.tokens / budget->clear_ns;

	return nr >= 1 ? (size_t)nr : budget->clears.tokens >= budget->clears.depth;
}

void budget_pay(struct budget *budget, size_t nr, int64_t ns)
{
	if (!nr)
		return;
	double weight = nr * CLEAR_SMOOTHING < 0.5 ? nr * CLEAR_SMOOTHING : 0.5;

	budget->clears.tokens -= ns;
	budget->clear_ns += weight * ((double)ns / nr - budget->clear_ns);
	if (budget->clear_ns < 100)	// no clear is cheaper; keeps the division sane
		budget->clear_ns = 100;
}

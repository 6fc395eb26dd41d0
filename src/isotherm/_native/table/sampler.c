// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include "sys/clock.h"
#include "table/sampler.h"

/** Signals and stop requests are looked after at least this often. */
#define POLL_NS (250 * UINT64_C(1000000))
/** Deadlines are met to the nanosecond that the timer hardware allows, not to the default 50 us. */
#define TIMER_SLACK_NS 1

void sampler_init(struct sampler *s, const struct access_ops *access,
		  const struct sampler_host *host)
{
	*s = (struct sampler){.access = access, .host = *host};
	atomic_init(&s->stop, false);
}

void sampler_deinit(struct sampler *s)
{
	free(s->samples);
	free(s->results);
	s->samples = NULL;
	s->results = NULL;
	s->room = 0;
}

static int make_room(struct sampler *s, size_t nr)
{
	struct access_sample *samples;
	uint8_t *results;

	if (nr <= s->room)
		return 0;
	nr += nr / 2;
	samples = reallocarray(s->samples, nr, sizeof(*samples));
	if (samples)
		s->samples = samples;
	results = realloc(s->results, nr);
	if (results)
		s->results = results;
	if (!samples || !results)
		return -ENOMEM;
	s->room = nr;
	return 0;
}

static int now_ns(struct sampler *s, uint64_t *now)
{
	if (s->host.now)
		return s->host.now(s->host.ctx, now);
	*now = monotonic_ns();
	return 0;
}

/** 0; -ECANCELED to end the run because of stop, -EINTR because of the host. */
static int look_around(struct sampler *s, uint64_t now, bool signalled)
{
	if (atomic_load(&s->stop))
		return -ECANCELED;
	if (!signalled && now - s->polled_ns < POLL_NS)
		return 0;
	s->polled_ns = now;
	if (s->host.poll && s->host.poll(s->host.ctx))
		return -EINTR;
	return atomic_load(&s->stop) ? -ECANCELED : 0;
}

static int sleep_monotonic(struct sampler *s, uint64_t deadline, uint64_t *late)
{
	uint64_t now = monotonic_ns();
	int err = look_around(s, now, false);

	while (!err && now < deadline) {
		uint64_t until = deadline - now > POLL_NS ? now + POLL_NS : deadline;
		struct timespec t = {
			.tv_sec = (time_t)(until / SECOND_NS), .tv_nsec = (long)(until % SECOND_NS)};
		int slept = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);

		now = monotonic_ns();
		err = look_around(s, now, slept == EINTR);
	}
	*late = now > deadline ? now - deadline : 0;
	return err;
}

/** Sleep until the next tick is due. */
static int next_tick(struct sampler *s, uint64_t sample_ns)
{
	uint64_t now, late;
	int err = now_ns(s, &now);

	if (err)
		return -EINTR;
	s->deadline_ns += sample_ns;
	// The first tick ever, one that is overdue, or one after a tick that was given up.
	if (s->deadline_ns < now || s->deadline_ns - now > sample_ns) {
		if (s->deadline_ns > sample_ns && s->deadline_ns < now)
			s->tally.late_ns += now - s->deadline_ns;
		s->deadline_ns = now + sample_ns;
	}
	if (s->host.sleep_until) {
		err = s->host.sleep_until(s->host.ctx, s->deadline_ns, &late) ? -EINTR : 0;
		if (!err && atomic_load(&s->stop))
			err = -ECANCELED;
	} else {
		err = sleep_monotonic(s, s->deadline_ns, &late);
	}
	if (!err)
		s->tally.late_ns += late;
	return err;
}

static void choose(struct sampler *s, const struct region_table *table, struct rng *rng)
{
	struct access_sample *sample = s->samples;
	bool whole = table->rules.samples_whole_regions;

	for (size_t t = 0; t < table->nr_targets; t++) {
		const struct region *r = table->regions.at + table->targets[t].first;

		for (size_t i = 0; i < table->targets[t].nr; i++, r++, sample++) {
			uint64_t end = whole ? r->end : region_sampled_end(r);

			sample->addr = rng_range(rng, r->start, end);
			sample->target = (uint32_t)t;
			sample->checked = r->window.young_cleared;
		}
	}
}

static void count(struct sampler *s, struct region_table *table)
{
	for (size_t i = 0; i < table->regions.nr; i++) {
		region_count(&table->regions.at[i], s->results[i]);
		s->tally.missed += s->results[i] == CHECK_MISSED;
		s->tally.checks += s->results[i] != CHECK_RESTING;
	}
	if (!table->rules.stores_moving_sum)
		return;
	for (size_t i = 0; i < table->regions.nr; i++)
		region_move(&table->regions.at[i], table->samples,
			    (s->results[i] & ~CHECK_WAS_YOUNG) == CHECK_ACCESSED);
}

/** Check what was prepared, if @check, and prepare the next batch, if @prepare. */
static int turn(struct sampler *s, struct region_table *table, struct rng *rng, bool check,
		bool prepare)
{
	size_t nr = table->regions.nr;
	int err;

	if (!nr)
		return 0;
	if (prepare)
		choose(s, table, rng);
	err = s->access->turn(s->access->ctx, check ? s->results : NULL, nr,
			      prepare ? s->samples : NULL, prepare ? nr : 0);
	if (!err && check)
		count(s, table);
	return err;
}

static int run(struct sampler *s, struct region_table *table, struct rng *rng, uint64_t ticks,
	       uint64_t sample_ns, uint64_t *done)
{
	int err = make_room(s, table->regions.nr);

	if (!err && atomic_load(&s->stop))
		err = -ECANCELED;
	if (!err && ticks)
		err = turn(s, table, rng, false, true);
	while (!err && *done < ticks) {
		err = next_tick(s, sample_ns);
		if (err)
			break;
		err = turn(s, table, rng, true, *done + 1 < ticks);
		if (err)
			break;
		s->tally.ticks++;
		++*done;
	}
	return err;
}

int sampler_run(struct sampler *s, struct region_table *table, struct rng *rng, uint64_t ticks,
		uint64_t sample_ns, uint64_t *done)
{
	int slack = prctl(PR_GET_TIMERSLACK), err;

	*done = 0;
	if (!s->host.now)
		s->polled_ns = monotonic_ns();
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	err = run(s, table, rng, ticks, sample_ns, done);
	prctl(PR_SET_TIMERSLACK, slack > 0 ? slack : 0);
	if (err != -ECANCELED)
		return err;
	atomic_store(&s->stop, false);
	return 0;
}

struct sampler_tally sampler_take(struct sampler *s)
{
	struct sampler_tally tally = s->tally;

	if (s->access->take_cleared)
		tally.cleared = s->access->take_cleared(s->access->ctx);
	s->tally = (struct sampler_tally){0};
	return tally;
}

// SPDX-License-Identifier: Apache-2.0
// How long ago pages were used, from what a table knows: again and again, or once.
#include "map/table.h"

#define FEW 4	// so many pages may come at once by chance

/** When the last read of a class was; its end where there was none. */
static uint64_t read_at(const struct map_reads *reads, unsigned int class_)
{
	uint64_t end = map_class_end(class_);

	return class_ < MAP_TIMED && reads->classes >> class_ & 1 ? end / MAP_READ_PARTS * reads->at[class_] : end;
}

/** When, after the beginning of its epoch, the first use was that a class stands for. */
struct first_use {
	uint64_t begin, likely, end;
};

/** @reads: of the epoch, which lasted @span. */
static struct first_use first_use(unsigned int class_, const struct map_reads *reads, uint64_t span)
{
	uint32_t before = reads->classes & ((1u << class_) - 1);
	unsigned int last = before ? 31 - (unsigned int)__builtin_clz(before) : 0;
	uint64_t end = read_at(reads, class_), begin = before ? read_at(reads, last) : 0;

	// Most is used right after a clear: what a first read found that is late was used sooner.
	if (!class_ && end > map_class_end(0))
		end = map_class_end(0);
	end = end < span ? end : span;
	begin = begin < end ? begin : end;
	return (struct first_use){begin, class_ && !before ? end / 4 : end, end};
}

/** How long an epoch lasted, up to the last read. */
static uint64_t span_of(const struct map_table *table, unsigned int epoch)
{
	return map_since(epoch ? table->began[epoch - 1] : table->read, table->began[epoch]);
}

static const struct map_reads *reads_of(const struct map_table *table, unsigned int epoch)
{
	return epoch ? &table->reads_before : &table->reads;
}

/** More than twice of what was to be expected, and not by chance. */
static bool is_many(double found, double expected)
{
	double more = found - 2 * expected - FEW;

	return more > 0 && more * more > 9 * expected;
}

/** In the first half of an epoch there was time enough to be used once more. */
static bool is_late(const struct first_use *use, uint64_t span)
{
	return use->begin && use->begin + use->end > span;
}

/** @counts: of the classes of the pages not used in the epoch before, and of the others. */
static void add_epoch(struct map_comings *comings, const struct map_table *table, unsigned int epoch,
		      uint16_t (*counts)[16])
{
	uint64_t span = span_of(table, epoch);
	double all = 0, before = 0;

	for (unsigned int i = 0; i < MAP_CLASSES; i++)
		all += counts[0][i];
	comings->all[epoch] += all;
	for (unsigned int i = 0; i < MAP_CLASSES; before += counts[1][i++]) {
		struct first_use use = first_use(i, reads_of(table, epoch), span);
		double length = (double)(use.end - use.begin);

		comings->found[epoch][i] += counts[0][i];
		comings->even[epoch][i] += span ? all * length / (double)span : 0;
		if (is_late(&use, span)) {
			comings->late[epoch][i] += counts[1][i];
			comings->due[epoch][i] += before * length / (double)use.begin;
		}
	}
}

void map_comings_add(struct map_comings *comings, const struct map_table *table)
{
	uint16_t counts[MAP_PAIRED][2][16] = {0};
	size_t nr = map_table_pages(table);

	for (size_t i = 0; i < nr; i++)
		if (table->pages[i] < MAP_BYTE(MAP_PAIRED, 0))
			counts[map_epoch_of(table->pages[i])][map_was_again(table->pages[i])][table->pages[i] & 15]++;
	for (unsigned int epoch = 0; epoch < MAP_PAIRED && epoch < table->nr_epochs; epoch++)
		add_epoch(comings, table, epoch, counts[epoch]);
}

struct map_bursts map_bursts_of(const struct map_comings *comings)
{
	struct map_bursts bursts = {0};

	for (unsigned int epoch = 0; epoch < MAP_PAIRED; epoch++) {
		double all = comings->all[epoch];

		bursts.fresh[epoch] = all <= FEW;
		for (unsigned int i = 0; i < MAP_CLASSES; i++) {
			double found = comings->found[epoch][i], even = comings->even[epoch][i];

			// What the others let expect.
			if (even < all && is_many(found, (all - found) * even / (all - even)))
				bursts.fresh[epoch] = true;
			if (is_many(comings->late[epoch][i], comings->due[epoch][i]))
				bursts.again[epoch] |= (uint16_t)(1u << i);
		}
	}
	return bursts;
}

/** Of a page used in one of the two newest epochs; @ended: how long ago that was over. */
static struct map_age age_in_epoch(const struct first_use *use, uint64_t span, uint64_t ended, bool sudden)
{
	// Since the end of its epoch it was not used, until then it may have been.
	struct map_age age = {.low = ended + use->end, .high = ended + 1, .idle = ended};

	if (sudden) {
		age.best = ended + span - use->begin;
		age.from = ended + span - use->end;
	} else {
		age.best = ended + use->likely;
		age.from = ended + (use->likely == use->end ? use->begin : use->likely);
	}
	// Surely it was used when that was seen, however often it was before.
	if (age.low < ended + span - use->begin)
		age.low = ended + span - use->begin;
	return age;
}

double map_age_share(const struct map_age *age, uint64_t ns)
{
	if (ns >= age->best)
		return 1;
	return ns <= age->from ? 0 : (double)(ns - age->from) / (double)(age->best - age->from);
}

struct map_age map_table_age(const struct map_table *table, const struct map_bursts *bursts, uint8_t byte)
{
	const uint64_t never = UINT64_MAX;
	unsigned int epoch = map_epoch_of(byte), class_ = byte & 15;

	if (byte == MAP_ABSENT)
		return (struct map_age){never, never, never, never, 0};
	if (epoch >= MAP_UNSEEN || !table->nr_epochs || (epoch >= table->nr_epochs && epoch != MAP_UNTOUCHED))
		return (struct map_age){never, never, 0, never, 0};
	if (map_was_perhaps(byte)) {
		uint64_t armed = epoch ? map_since(table->read, table->began[epoch - 1]) : 0;

		uint64_t likely = map_was_likely(byte) ? armed + span_of(table, epoch) : never;

		return (struct map_age){never, likely, epoch ? armed + 1 : 0, likely, armed};
	}
	if (epoch == MAP_UNTOUCHED)
		return (struct map_age){never, never, map_since(table->read, table->first) + 1, never,
					map_since(table->read, table->first)};
	uint64_t ended = epoch ? map_since(table->read, table->began[epoch - 1]) : 0, span = span_of(table, epoch);

	if (epoch >= MAP_PAIRED)
		return (struct map_age){ended + span, ended + span, ended + 1, ended, ended};
	// What happened after the last read is not known of anything.
	struct first_use use = first_use(class_, reads_of(table, epoch), span);

	bool again = map_was_again(byte);
	bool sudden = again ? bursts->again[epoch] >> class_ & 1 && is_late(&use, span) : bursts->fresh[epoch];

	return age_in_epoch(&use, span, ended, sudden);
}

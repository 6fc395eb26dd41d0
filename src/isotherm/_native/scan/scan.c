// SPDX-License-Identifier: Apache-2.0
#include "scan/scan.h"
#include <string.h>

typedef unsigned __int128 u128;

bool scan_offsets(const int32_t *offsets, size_t rows, size_t regions)
{
	if (offsets[0] < 0 || (size_t)offsets[rows] > regions)
		return false;
	for (size_t i = 0; i < rows; i++)
		if (offsets[i] > offsets[i + 1])
			return false;
	return true;
}

static size_t first_of(const struct scan *scan, size_t row)
{
	return (size_t)scan->offsets[row];
}

static uint64_t most_of(const struct scan *scan, size_t row)
{
	uint64_t sample = scan->sample_us[row] ? scan->sample_us[row] : 1;
	uint64_t most = scan->aggr_us[row] / sample;

	return most ? most : 1;
}

/** Of most of the region nothing is known: model/snapshot.py, is_blind(). */
static bool is_blind(uint64_t size, uint64_t unseen)
{
	return (unseen > size - unseen) | (unseen > size) | !size;
}

/** What is wrong with the regions of @row, of which something is. */
static const char *wrong_with(const struct scan *scan, size_t row, uint32_t nr_targets)
{
	uint32_t before = 0;	// targets ascend
	uint64_t end = 0;	// of what was seen of the same one

	for (size_t i = first_of(scan, row), after = first_of(scan, row + 1); i < after; i++) {
		uint32_t target = scan->target[i];

		if (target >= nr_targets || target < before)
			return "a region is of a target that is not there";
		if (scan->start[i] >= scan->end[i])
			return "a region ends before it begins";
		if (target == before && end > scan->start[i])
			return "regions overlap, or are not in the order of their addresses";
		if (scan->heat && !(scan->heat[i] >= 0 && scan->heat[i] <= 1))
			return "the heat of a region is no share";
		before = target;
		end = scan->end[i];
	}
	return NULL;
}

/** Whether something is wrong with the regions [@from, @after) of a row, without a branch for each. */
static bool is_wrong(const struct scan *scan, size_t from, size_t after, uint32_t nr_targets)
{
	const uint32_t *target = scan->target;
	const uint64_t *start = scan->start, *end = scan->end;
	bool wrong;

	if (from == after)
		return false;
	wrong = (target[after - 1] >= nr_targets) | (start[from] >= end[from]);
	for (size_t i = from + 1; i < after; i++)
		wrong |= (target[i] < target[i - 1]) | (start[i] >= end[i]) |
			 ((target[i] == target[i - 1]) & (start[i] < end[i - 1]));
	for (size_t i = scan->heat ? from : after; i < after; i++)
		wrong |= !(scan->heat[i] >= 0 && scan->heat[i] <= 1);
	return wrong;
}

const char *scan_check(const struct scan *scan, size_t low, size_t high, uint32_t nr_targets)
{
	for (size_t row = low; row < high; row++)
		if (is_wrong(scan, first_of(scan, row), first_of(scan, row + 1), nr_targets))
			return wrong_with(scan, row, nr_targets);
	return NULL;
}

bool scan_check_used(const struct scan *scan, size_t low, size_t high, const uint8_t *valid, const int32_t *offsets,
		     const uint64_t *used)
{
	for (size_t row = low; row < high; row++) {
		size_t from = first_of(scan, row), count = first_of(scan, row + 1) - from;

		if (valid && !(valid[row / 8] >> row % 8 & 1))
			continue;
		if ((size_t)(offsets[row + 1] - offsets[row]) != count)
			return false;
		for (size_t i = 0; i < count; i++)
			if (used[(size_t)offsets[row] + i] > scan->end[from + i] - scan->start[from + i])
				return false;
	}
	return true;
}

/** Without a branch on what stands in a region: counts come in no order. */
static uint64_t known_part(uint64_t size, uint64_t hidden, bool counts)
{
	return (counts & !is_blind(size, hidden)) ? size - hidden : 0;
}

/** The sum of what counts of regions [@from, @after) into @bytes; false where it has to be done one by one. */
static bool used_at_once(const struct scan *scan, size_t from, size_t after, uint64_t least, uint64_t *bytes)
{
	const uint64_t *start = scan->start, *end = scan->end, *unseen = scan->unobservable;
	const uint32_t *counts = scan->nr_accesses;
	uint64_t sum = 0, hidden = 0;
	bool over = false;

	for (size_t i = from; i < after; i++) {
		uint64_t part = counts[i] >= least ? end[i] - start[i] : 0;

		hidden |= unseen[i];
		sum += part;
		over |= sum < part;
	}
	*bytes = sum;
	return !hidden && !over;
}

bool scan_used(const struct scan *scan, size_t low, size_t high, double least_percent, bool shares, uint64_t *used,
	       uint64_t *unseen)
{
	bool over = false;

	for (size_t row = low; row < high; row++) {
		uint64_t most = most_of(scan, row), bytes = 0, blind = 0;
		double share = (double)most * least_percent / 100;
		uint64_t least = share > UINT32_MAX ? UINT64_MAX : share > 1 ? (uint64_t)share : 1;
		size_t from = first_of(scan, row), after = first_of(scan, row + 1);

		least += least < UINT64_MAX && share > (double)least;	// rounded up
		if (!shares && used_at_once(scan, from, after, least, &used[row - low])) {
			unseen[row - low] = 0;
			continue;
		}
		for (size_t i = from; i < after; i++) {
			uint64_t hidden = scan->unobservable[i], count = scan->nr_accesses[i];
			uint64_t part = known_part(scan->end[i] - scan->start[i], hidden, count >= least);

			over |= __builtin_add_overflow(blind, hidden, &blind);
			if (shares && part) {
				u128 bytes_of = (u128)part * count / most;

				over |= bytes_of > UINT64_MAX;
				part = (uint64_t)bytes_of;
			}
			over |= __builtin_add_overflow(bytes, part, &bytes);
		}
		used[row - low] = bytes;
		unseen[row - low] = blind;
	}
	return !over;
}

/** Byte-samples that were accessed of regions [@from, @after). */
static double accessed(const struct scan *scan, size_t from, size_t after, double most)
{
	u128 sum = 0;
	double heat = 0;

	if (!scan->heat) {
		for (size_t i = from; i < after; i++)
			sum += (u128)(scan->end[i] - scan->start[i]) * scan->nr_accesses[i];
		return (double)sum;
	}
	for (size_t i = from; i < after; i++)
		heat += (double)(scan->end[i] - scan->start[i]) * scan->heat[i] * most;
	return heat;
}

size_t scan_runs(const struct scan *scan, size_t row, struct scan_run *runs, double *heat)
{
	const uint32_t *target = scan->target;
	const uint64_t *start = scan->start, *end = scan->end;
	size_t count = 0, after = first_of(scan, row + 1), begin = first_of(scan, row);
	double most = (double)most_of(scan, row);

	for (size_t low = begin; low < after; low = begin) {
		uint32_t of = target[low];
		size_t first = low;

		for (begin = low + 1; begin < after && target[begin] == of; begin++) {
			if (start[begin] == end[begin - 1])
				continue;
			runs[count++] = (struct scan_run){of, start[first], end[begin - 1]};
			first = begin;
		}
		runs[count++] = (struct scan_run){of, start[first], end[begin - 1]};
		heat[of] += accessed(scan, low, begin, most);
	}
	return count;
}

/** The row of the grid that @address is in, or the one before it; 0 before all. */
static size_t row_at(const struct scan_grid *grid, uint64_t address)
{
	size_t low = 0, high = grid->rows;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (grid->starts[middle] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : 0;
}

/** @first: the row that @start is in. */
static void spread(struct scan_grid *grid, size_t first, uint64_t start, uint64_t end, double rate, double blind)
{
	double *hot = grid->sums, *seen = hot + grid->rows, *unseen = seen + grid->rows, *peak = unseen + grid->rows;

	for (size_t row = first; row < grid->rows && grid->starts[row] < end; row++) {
		uint64_t from = start > grid->starts[row] ? start : grid->starts[row];
		uint64_t to = end < grid->ends[row] ? end : grid->ends[row];

		if (from < to) {
			double bytes = (double)(to - from);

			seen[row] += bytes * (1 - blind);
			unseen[row] += bytes * blind;
			hot[row] += bytes * (1 - blind) * rate;
			if (blind < 1 && rate > peak[row])
				peak[row] = rate;
		}
	}
}

/** Add what was summed up of a window to the columns of time that it touches. */
static void add_window(struct scan_grid *grid, int64_t start_ns, int64_t end_ns)
{
	double *into[] = {grid->hot, grid->seen, grid->unseen};
	const double *peaks = grid->sums + 3 * grid->rows;
	double width = ((double)grid->end_ns - (double)grid->start_ns) / (double)grid->columns;
	double begin = (double)((__int128)start_ns - grid->start_ns);
	double finish = (double)((__int128)end_ns - grid->start_ns);
	double first = begin / width;

	if (finish < begin + 1)
		finish = begin + 1;
	if (!(first < (double)grid->columns))
		return;
	for (size_t column = first > 0 ? (size_t)first : 0; column < grid->columns; column++) {
		double low = (double)column * width, high = (double)(column + 1) * width;
		double from = begin > low ? begin : low, to = finish < high ? finish : high;

		if (to > from) {
			for (size_t k = 0; k < 3; k++)
				for (size_t row = 0; row < grid->rows; row++)
					into[k][row * grid->columns + column] += grid->sums[k * grid->rows + row] * (to - from);
			for (size_t row = 0; row < grid->rows; row++)
				if (peaks[row] > grid->peak[row * grid->columns + column])
					grid->peak[row * grid->columns + column] = peaks[row];
		}
		if (high >= finish)
			return;
	}
}

/** Sums of one row, at hand while regions fall into it. */
struct row_sums {
	double hot, seen, peak;
};

static struct row_sums sums_of(const struct scan_grid *grid, size_t row)
{
	const double *sums = grid->sums + row;

	return (struct row_sums){sums[0], sums[grid->rows], sums[3 * grid->rows]};
}

static void put_sums(struct scan_grid *grid, size_t row, const struct row_sums *now)
{
	double *sums = grid->sums + row;

	sums[0] = now->hot;
	sums[grid->rows] = now->seen;
	sums[3 * grid->rows] = now->peak;
}

/** Sum up the regions of a window, into sums that are 0. */
static void sum_window(const struct scan *scan, size_t row, uint32_t target, struct scan_grid *grid)
{
	const uint64_t *starts = grid->starts, *ends = grid->ends;
	double most = (double)most_of(scan, row);
	size_t at = 0, last = grid->rows - 1;	// regions of a target ascend, and so do the rows that they are in
	uint64_t next = last ? starts[1] : UINT64_MAX;
	struct row_sums now = {0};

	for (size_t i = first_of(scan, row), after = first_of(scan, row + 1); i < after; i++) {
		uint64_t start = scan->start[i], end = scan->end[i], hidden = scan->unobservable[i];
		double rate = scan->heat ? scan->heat[i] : (double)scan->nr_accesses[i] / most;
		double bytes = (double)(end - start);

		if (scan->target[i] != target)
			continue;
		rate = rate < 1 ? rate : 1;
		if (start >= next && at < last) {
			put_sums(grid, at, &now);
			while (at < last && starts[at + 1] <= start)
				at++;
			next = at < last ? starts[at + 1] : UINT64_MAX;
			now = sums_of(grid, at);
		}
		if (!hidden && start >= starts[at] && end <= ends[at]) {
			now.seen += bytes;
			now.hot += bytes * rate;
			now.peak = rate > now.peak ? rate : now.peak;
			continue;
		}
		put_sums(grid, at, &now);
		spread(grid, at, start, end, rate, hidden >= end - start ? 1 : (double)hidden / bytes);
		now = sums_of(grid, at);
	}
	put_sums(grid, at, &now);
}

void scan_heat(const struct scan *scan, size_t low, size_t high, uint32_t target, const uint64_t *gap_starts,
	       const uint64_t *gap_ends, size_t nr_gaps, struct scan_grid *grid)
{
	if (!grid->rows)
		return;
	for (size_t row = low; row < high; row++) {
		memset(grid->sums, 0, 4 * grid->rows * sizeof(*grid->sums));
		sum_window(scan, row, target, grid);
		for (size_t i = 0; i < nr_gaps; i++)
			spread(grid, row_at(grid, gap_starts[i]), gap_starts[i], gap_ends[i], 0, 1);
		add_window(grid, scan->start_ns[row], scan->end_ns[row]);
	}
}

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

const char *scan_check(const struct scan *scan, size_t low, size_t high, uint32_t nr_targets)
{
	for (size_t row = low; row < high; row++) {
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
			before = target;
			end = scan->end[i];
		}
	}
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

bool scan_used(const struct scan *scan, size_t low, size_t high, double least_percent, bool shares, uint64_t *used,
	       uint64_t *unseen)
{
	bool over = false;

	for (size_t row = low; row < high; row++) {
		uint64_t most = most_of(scan, row), bytes = 0, blind = 0;
		double share = (double)most * least_percent / 100;
		uint64_t least = share > UINT32_MAX ? UINT64_MAX : share > 1 ? (uint64_t)share : 1;

		least += least < UINT64_MAX && share > (double)least;	// rounded up
		for (size_t i = first_of(scan, row), after = first_of(scan, row + 1); i < after; i++) {
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

size_t scan_runs(const struct scan *scan, size_t row, struct scan_run *runs, double *heat)
{
	size_t count = 0, end = first_of(scan, row + 1);
	u128 accessed = 0;

	for (size_t i = first_of(scan, row); i < end; i++) {
		uint64_t size = scan->end[i] - scan->start[i];
		uint32_t target = scan->target[i];

		if (count && runs[count - 1].target == target && runs[count - 1].end == scan->start[i]) {
			runs[count - 1].end = scan->end[i];
		} else {
			runs[count++] = (struct scan_run){target, scan->start[i], scan->end[i]};
		}
		accessed += (u128)size * scan->nr_accesses[i];
		if (i + 1 == end || scan->target[i + 1] != target) {
			heat[target] += (double)accessed;
			accessed = 0;
		}
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
	double most = (double)most_of(scan, row);
	size_t at = 0;	// regions of a target ascend, and so do the rows that they are in
	struct row_sums now = {0};

	for (size_t i = first_of(scan, row), after = first_of(scan, row + 1); i < after; i++) {
		uint64_t start = scan->start[i], end = scan->end[i], hidden = scan->unobservable[i];
		double rate = (double)scan->nr_accesses[i] / most, bytes = (double)(end - start);

		if (scan->target[i] != target)
			continue;
		rate = rate < 1 ? rate : 1;
		if (at + 1 < grid->rows && grid->starts[at + 1] <= start) {
			put_sums(grid, at, &now);
			while (at + 1 < grid->rows && grid->starts[at + 1] <= start)
				at++;
			now = sums_of(grid, at);
		}
		if (!hidden && start >= grid->starts[at] && end <= grid->ends[at]) {
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

// SPDX-License-Identifier: Apache-2.0
// The clearing half of a turn: which young pages may be cleared, which are, and what came of it.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>
#include "access/access_bpf.h"
#include "access/clear.h"
#include "map/page_map.h"
#include "sys/clock.h"
#include "sys/page.h"
#include "sys/page_idle.h"
#include "sys/vma.h"

#define LEVELS 256		// of "checks that the region already had"
#define REFUSAL_PROBES 32
#define LARGE_PROBES 4

static bool unseen(struct access_bpf *access, struct pending *sample, enum unseen_reason reason)
{
	access->memories[sample->target].unseen[reason]++;
	sample->state = SAMPLE_UNSEEN;
	return false;
}

static bool missed(struct access_bpf *access, struct pending *sample)
{
	access->stats.missed++;
	sample->state = SAMPLE_MISSED;
	return false;
}

/** The folio's own conditions, for MADV_COLD; see access_judge(). */
static bool judge_cold(struct access_bpf *access, struct pending *sample, const struct leaf *leaf,
		       struct candidate *candidate)
{
	if (!(leaf->folio_flags & FOLIO_KNOWN)) {
		// A 2 MiB leaf is a folio of its own or refused as hugetlb; of a single page its folio's
		// size is not known, unless there can be none but pages.
		bool single = access->sweeper.thp.known && access->sweeper.thp.none &&
			      memory_unit(&access->memories[sample->target], sample->addr);

		if (leaf->level == 0 && !single)
			return unseen(access, sample, UNSEEN_FOLIO);
		candidate->proven = false;
		return true;
	}
	if (leaf->folio_flags & FOLIO_MLOCKED) {
		// Of memory of its own it is this target that locked it: the mapping as a whole.
		if (leaf->folio_flags & FOLIO_ANON && !(leaf->folio_flags & FOLIO_SHARED))
			access_refused(access, sample->target, sample->addr, leaf);
		return unseen(access, sample, UNSEEN_MLOCKED);
	}
	if (leaf->folio_flags & FOLIO_SHARED)
		return unseen(access, sample, UNSEEN_SHARED);
	if (leaf->level == 1 && !(leaf->folio_flags & FOLIO_LRU))
		return unseen(access, sample, leaf->write || leaf->dirty ? UNSEEN_HUGETLB : UNSEEN_ZERO);
	if (leaf->level == 0 && leaf->folio_order) {
		if (!access->sweeper.large_ok || leaf->folio_flags & FOLIO_PARTIAL)
			return unseen(access, sample, UNSEEN_FOLIO);
		candidate->size = PAGE << leaf->folio_order;
		candidate->start = (sample->addr & ~(PAGE - 1)) - leaf->folio_index * PAGE;
		// The kernel clears a page table at a time: it would take the border of one for the
		// folio's end, and split it.
		if ((candidate->start ^ (candidate->start + candidate->size - 1)) & ~(BLOCK - 1))
			return unseen(access, sample, UNSEEN_FOLIO);
	}
	// Off the LRU lists for a moment (in a batch of some CPU), or for ever: the second look tells.
	candidate->proven = leaf->folio_flags & FOLIO_LRU;
	return true;
}

bool access_judge(struct access_bpf *access, struct pending *sample, struct leaf *leaf,
		  struct candidate *candidate)
{
	const struct refused_range *refused =
		memory_refused(&access->memories[sample->target], sample->addr);
	uint64_t size = leaf->level ? BLOCK : PAGE;

	if (leaf->level > 1)
		return unseen(access, sample, UNSEEN_HUGETLB);
	if (access->settings.ignore_folios || !(leaf->folio_flags & FOLIO_KNOWN))
		kpage_folio(&access->kpage, leaf);
	*candidate = (struct candidate){
		.start = sample->addr & ~(size - 1), .size = size, .leaf = *leaf};
	if (access->zero_pfn && leaf->level == 0 && leaf->pfn == access->zero_pfn)
		return unseen(access, sample, UNSEEN_ZERO);
	if (access->idle_fd >= 0) {
		candidate->proven = leaf->folio_flags & FOLIO_KNOWN && leaf->folio_flags & FOLIO_LRU;
		return true;
	}
	if (refused)
		return unseen(access, sample, refused->reason);
	if (access->memories[sample->target].pidfd < 0)
		return missed(access, sample);
	return judge_cold(access, sample, leaf, candidate);
}

static uint64_t next_random(struct access_bpf *access)
{
	access->random ^= access->random << 13;
	access->random ^= access->random >> 7;
	access->random ^= access->random << 17;
	return access->random;
}

/** Choose at most @budget candidates: regions with the fewest checks first, by lot among equals. */
static void choose(struct access_bpf *access, struct candidate *candidates, size_t nr, size_t budget)
{
	size_t count[LEVELS] = {0}, last = 0, left;

	for (size_t i = 0; i < nr; i++) {
		if (candidates[i].checked >= LEVELS)
			candidates[i].checked = LEVELS - 1;
		count[candidates[i].checked]++;
	}
	for (left = budget; last < LEVELS && count[last] <= left; last++)
		left -= count[last];
	for (size_t i = 0, of = last < LEVELS ? count[last] : 0; i < nr; i++) {
		if (candidates[i].checked < last) {
			candidates[i].chosen = true;
		} else if (candidates[i].checked == last) {
			// Each of the remaining ones with the same chance: exactly `left` are taken.
			candidates[i].chosen = next_random(access) % of-- < left;
			left -= candidates[i].chosen;
		}
	}
}

/**
 * A folio mapped page by page is cleared only if it lies in one mapping right now and its first and
 * last page are where they should be: a border inside it would make the kernel split it.
 */
static bool large_is_whole(struct access_bpf *access, const struct candidate *candidate,
			   uint32_t target)
{
	struct target_memory *memory = &access->memories[target];
	uint64_t last = candidate->size - PAGE;
	struct leaf_request ends[2] = {{candidate->start, target, 0}, {candidate->start + last, target, 0}};
	struct leaf leaves[2];
	struct vma vma;

	if (memory->maps_fd < 0)
		memory->maps_fd = vma_open(memory->pid);
	if (memory->maps_fd < 0 || vma_query(memory->maps_fd, candidate->start, &vma) < 0 ||
	    vma.end < candidate->start + candidate->size)
		return false;
	if (walker_read(access->walker, ends, 2, leaves, false) < 0)
		return false;
	uint64_t head = candidate->leaf.pfn - candidate->leaf.folio_index;

	return leaves[0].state == LEAF_PRESENT && leaves[0].level == 0 && leaves[0].pfn == head &&
	       leaves[1].state == LEAF_PRESENT && leaves[1].level == 0 &&
	       leaves[1].pfn == head + last / PAGE;
}

int access_advise_cold(struct access_bpf *access, size_t target, const struct iovec *ranges, size_t nr,
		       uint8_t *outcomes)
{
	const struct walker_target *state = &walker_targets(access->walker, NULL)[target];
	int follow = access->settings.follow_from;
	cpu_set_t before, there;
	bool moved = false;

	if (follow && nr >= (size_t)follow && state->single_cpu && state->cpu >= 0 &&
	    state->cpu < CPU_SETSIZE && state->cpu != sched_getcpu() &&
	    !sched_getaffinity(0, sizeof(before), &before)) {
		CPU_ZERO(&there);
		CPU_SET(state->cpu, &there);
		moved = !sched_setaffinity(0, sizeof(there), &there);
		access->stats.followed += moved;
	}
	int err = clear_cold(access->memories[target].pidfd, ranges, nr, outcomes);

	if (moved)
		sched_setaffinity(0, sizeof(before), &before);
	return err;
}

static void settle(struct access_bpf *access, struct candidate *candidate, int err, uint8_t outcome)
{
	struct pending *sample = &access->pending[candidate->sample];

	if (err || outcome == CLEAR_HOLE) {
		missed(access, sample);
		return;
	}
	if (outcome == CLEAR_REFUSED) {
		access_refused(access, sample->target, sample->addr, &candidate->leaf);
		const struct refused_range *refused =
			memory_refused(&access->memories[sample->target], sample->addr);

		unseen(access, sample, refused ? refused->reason : UNSEEN_PFN);
		return;
	}
	struct sweep_unit *unit = memory_unit(&access->memories[sample->target], sample->addr);

	if (unit)
		unit->cleared++;
	sample->state = SAMPLE_CLEARED;
	access->cleared++;
	// Of a folio one page is enough: it is judged as a whole.
	if (access->map)
		page_map_seen(access->map, sample->target, candidate->start,
			      candidate->start + candidate->size, monotonic_ns());
}

/** Clear the chosen candidates [from, to), all of one target; address order makes doubles neighbours. */
static void clear_target(struct access_bpf *access, struct candidate *candidates, size_t from, size_t to)
{
	uint32_t target = access->pending[candidates[from].sample].target;
	size_t nr = 0;

	for (size_t i = from; i < to; i++) {
		struct candidate *candidate = &candidates[i];

		if (!candidate->chosen)
			continue;
		if (candidate->leaf.level == 0 && candidate->size > PAGE &&
		    !large_is_whole(access, candidate, target)) {
			candidate->chosen = false;
			unseen(access, &access->pending[candidate->sample], UNSEEN_FOLIO);
			continue;
		}
		if (!nr || (uint64_t)access->ranges[nr - 1].iov_base != candidate->start)
			access->ranges[nr++] =
				(struct iovec){(void *)candidate->start, candidate->size};
		candidate->range = nr - 1;
	}
	int err = nr ? access_advise_cold(access, target, access->ranges, nr, access->outcomes) : 0;

	access->stats.clears += nr;
	for (size_t i = from; i < to; i++)
		if (candidates[i].chosen)
			settle(access, &candidates[i], err, access->outcomes[candidates[i].range]);
}

static void clear_idle(struct access_bpf *access, struct candidate *candidates, size_t nr)
{
	size_t n = 0;

	for (size_t i = 0; i < nr; i++)
		if (candidates[i].chosen)
			access->pfns[n++] = candidates[i].leaf.folio_flags & FOLIO_KNOWN
				? candidates[i].leaf.pfn - candidates[i].leaf.folio_index
				: candidates[i].leaf.pfn;
	int err = page_idle_clear(access->idle_fd, access->pfns, n);

	access->stats.clears += n;
	for (size_t i = 0; i < nr; i++)
		if (candidates[i].chosen)
			settle(access, &candidates[i], err, CLEAR_DONE);
}

/**
 * The kernel was seen to leave large folios young although all that it asks for held. One page of
 * a hot folio may well be young again at once, pages all over it are not.
 */
static bool large_is_stuck(struct access_bpf *access, const struct candidate *candidate,
			   uint32_t target)
{
	struct leaf_request requests[LARGE_PROBES];
	struct leaf leaves[LARGE_PROBES];
	uint64_t pages = candidate->size / PAGE;

	for (uint64_t i = 0; i < LARGE_PROBES; i++)
		requests[i] = (struct leaf_request){
			candidate->start + (pages - 1) * i / (LARGE_PROBES - 1) * PAGE, target, 0};
	if (walker_read(access->walker, requests, LARGE_PROBES, leaves, false) < 0)
		return true;
	for (size_t i = 0; i < LARGE_PROBES; i++)
		if (leaves[i].state != LEAF_PRESENT || !leaves[i].young)
			return false;
	return true;
}

static void verify_large(struct access_bpf *access, struct candidate *candidates, size_t nr)
{
	const struct candidate *last = NULL;
	uint32_t last_target = 0;
	bool stuck = false;

	for (size_t i = 0; i < nr; i++) {
		struct candidate *candidate = &candidates[i];
		struct pending *sample = &access->pending[candidate->sample];

		if (sample->state != SAMPLE_CLEARED || candidate->leaf.level || candidate->size == PAGE)
			continue;
		if (!last || last->start != candidate->start || last_target != sample->target)
			stuck = large_is_stuck(access, candidate, sample->target);
		last = candidate;
		last_target = sample->target;
		if (stuck) {
			access->stats.stuck++;
			access->cleared--;
			missed(access, sample);
		}
	}
}

/** Those of which it was not sure that they would be cleared: were they? */
static void verify(struct access_bpf *access, struct candidate *candidates, size_t nr)
{
	struct leaf_request *requests = access->requests;
	struct leaf *leaves = access->leaves;
	size_t n = 0, k = 0;

	for (size_t i = 0; i < nr; i++) {
		const struct pending *sample = &access->pending[candidates[i].sample];

		if (candidates[i].chosen && !candidates[i].proven && sample->state == SAMPLE_CLEARED)
			requests[n++] = (struct leaf_request){sample->addr, sample->target, 0};
	}
	if (!n || walker_read(access->walker, requests, n, leaves, false) < 0)
		n = 0;
	for (size_t i = 0; i < nr && k < n; i++) {
		struct candidate *candidate = &candidates[i];
		struct pending *sample = &access->pending[candidate->sample];

		if (!candidate->chosen || candidate->proven || sample->state != SAMPLE_CLEARED)
			continue;
		const struct leaf *leaf = &leaves[k++];

		if (leaf->state != LEAF_PRESENT || !leaf->young)
			continue;
		access->stats.stuck++;
		access->cleared--;
		// An anonymous page gets onto the LRU lists soon; of the others nothing can be hoped.
		if (candidate->leaf.folio_flags & FOLIO_ANON)
			missed(access, sample);
		else
			unseen(access, sample, candidate->leaf.folio_flags & FOLIO_KNOWN ? UNSEEN_PFN
											: UNSEEN_STUCK);
	}
}

void access_clear(struct access_bpf *access, struct candidate *candidates, size_t nr)
{
	struct budget *budget = &access->budget;
	uint64_t now_ns = monotonic_ns(), cleared = access->stats.clears;

	if (!nr && now_ns - budget->span_begin < BUDGET_SPAN_NS)
		return;
	int64_t begin = thread_ns();

	budget_other(budget, access->cpu_mark ? begin - access->cpu_mark : 0, now_ns);
	access->cpu_mark = begin;
	if (!nr)
		return;
	choose(access, candidates, nr, budget_affords(budget));
	for (size_t i = 0; i < nr; i++)
		if (!candidates[i].chosen)
			missed(access, &access->pending[candidates[i].sample]);
	if (access->idle_fd >= 0) {
		clear_idle(access, candidates, nr);
	} else {
		for (size_t i = 0, end; i < nr; i = end) {
			uint32_t target = access->pending[candidates[i].sample].target;

			for (end = i; end < nr &&
			     access->pending[candidates[end].sample].target == target; end++)
				;
			clear_target(access, candidates, i, end);
		}
	}
	verify(access, candidates, nr);
	if (access->idle_fd < 0)
		verify_large(access, candidates, nr);
	int64_t end_ns = thread_ns();

	budget_pay(budget, access->stats.clears - cleared, end_ns - begin);
	access->cpu_mark = end_ns;
}

/** Why a mapping is refused, as some page of it tells. */
static enum unseen_reason reason_of(struct access_bpf *access, uint32_t target, const struct vma *vma)
{
	struct leaf_request requests[REFUSAL_PROBES] = {0};
	struct leaf leaves[REFUSAL_PROBES];
	uint64_t pages = (vma->end - vma->start) / PAGE;
	size_t nr = pages < REFUSAL_PROBES ? pages : REFUSAL_PROBES;

	if (vma->page_size > PAGE)
		return UNSEEN_HUGETLB;
	for (size_t i = 0; i < nr; i++)
		requests[i] = (struct leaf_request){vma->start + pages * i / nr * PAGE, target, 0};
	if (walker_read(access->walker, requests, nr, leaves, true) < 0)
		return UNSEEN_PFN;
	for (size_t i = 0; i < nr; i++) {
		if (leaves[i].state != LEAF_PRESENT)
			continue;
		if (!(leaves[i].folio_flags & FOLIO_KNOWN))
			kpage_folio(&access->kpage, &leaves[i]);
		if (leaves[i].folio_flags & (FOLIO_MLOCKED | FOLIO_LRU | FOLIO_ANON))
			return UNSEEN_MLOCKED;
	}
	return UNSEEN_PFN;
}

void access_refused(struct access_bpf *access, uint32_t target, uint64_t addr, const struct leaf *leaf)
{
	struct target_memory *memory = &access->memories[target];
	const struct mapping *mapping = memory_mapping(memory, addr);
	struct vma vma = {.page_size = leaf && leaf->level ? BLOCK : PAGE};

	if (memory->maps_fd < 0)
		memory->maps_fd = vma_open(memory->pid);
	if (memory->maps_fd < 0 || vma_query(memory->maps_fd, addr, &vma) < 0) {
		// Refused ranges lie in one mapping, as far as the last look at the map knows.
		vma.start = mapping ? mapping->start : addr & ~(PAGE - 1);
		vma.end = mapping ? mapping->end : vma.start + PAGE;
	}
	memory_refuse(memory, vma.start, vma.end, reason_of(access, target, &vma), monotonic_ns());
}

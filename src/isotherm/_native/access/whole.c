// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include "access/whole.h"
#include "sys/page.h"
#include "sys/vma.h"

bool whole_mapping(struct target_memory *memory, uint64_t *start, uint64_t *end)
{
	struct vma vma;

	if (memory->maps_fd < 0)
		memory->maps_fd = vma_open(memory->pid);
	if (memory->maps_fd < 0)
		return false;
	switch (vma_query(memory->maps_fd, *start, &vma)) {
	case 0:
		if (!vma.anonymous || vma.shared)
			return false;
		if (*end > vma.end)
			*end = vma.end;
		return true;
	case -ENOTTY:
		return true;
	default:
		return false;
	}
}

/** Whether clearing @nr pages of a leaf table from entry @first on, at @addr, would split no folio. */
static bool pages_are_whole(struct walker *walker, const struct kpage *kpage, bool large_ok,
			    const uint64_t *table, size_t first,
			    size_t nr, uint64_t addr)
{
	uint64_t pfns[512] = {0};

	for (size_t i = 0; i < nr; i++) {
		struct leaf leaf = walker_decode(walker, table[first + i], 0, addr + i * PAGE);

		if (leaf.state == LEAF_PRESENT)
			pfns[i] = leaf.pfn;
	}
	return kpage_whole_folios(kpage, pfns, nr, large_ok);
}

size_t whole_pieces(struct walker *walker, const struct kpage *kpage, bool large_ok, size_t target, uint64_t start,
		    uint64_t end, struct iovec *pieces, uint64_t *skipped)
{
	const uint64_t (*tables)[512];
	uint64_t *pmds, base = start & ~(BLOCK - 1);
	size_t nr = 0, blocks = (end - base + BLOCK - 1) / BLOCK;

	if (walker_view_tables(walker, target, base, blocks, &tables, &pmds) < 0)
		return 0;
	for (size_t i = 0; i < blocks; i++) {
		uint64_t from = base + i * BLOCK, to = from + BLOCK;

		from = from < start ? start : from;
		to = to > end ? end : to;
		if (!pmds[i])
			continue;
		if (walker_is_table(walker, pmds[i]) &&
		    !pages_are_whole(walker, kpage, large_ok, tables[i], from / PAGE % 512, (to - from) / PAGE, from)) {
			*skipped += to - from;
			continue;
		}
		if (nr && (uint64_t)pieces[nr - 1].iov_base + pieces[nr - 1].iov_len == from)
			pieces[nr - 1].iov_len += to - from;
		else
			pieces[nr++] = (struct iovec){(void *)from, to - from};
	}
	return nr;
}


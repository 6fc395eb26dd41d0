// SPDX-License-Identifier: Apache-2.0
// The self-test of the access check, on pages of our own.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "access/access_bpf.h"
#include "access/clear.h"
#include "sys/page_idle.h"
#include "sys/vma.h"

#define PAGES 64
#define PAGE 4096
#define TRIES 5

struct own {
	volatile char *memory;
	int pidfd;
	struct leaf_request requests[PAGES];
	struct leaf leaves[PAGES];
};

static void touch(struct own *own)
{
	for (size_t i = 0; i < PAGES; i++)
		own->memory[i * PAGE]++;
}

/** How many of the pages are young; negative errno. */
static int count_young(struct access_bpf *access, struct own *own, bool folios)
{
	int young = 0, err = walker_read(access->walker, own->requests, PAGES, own->leaves, folios);

	for (size_t i = 0; !err && i < PAGES; i++)
		young += own->leaves[i].state == LEAF_PRESENT && own->leaves[i].young;
	return err < 0 ? err : young;
}

/**
 * What the page_idle bitmap needs here, and MADV_COLD does by itself: pages that wait in this CPU's
 * batch are put on the LRU lists, and translations are forgotten. A CPU that remembers a page does
 * not set its accessed bit again, and unlike a target we go on without being switched away.
 */
static void settle(struct access_bpf *access, struct own *own)
{
	if (access->idle_fd < 0)
		return;
	madvise((void *)own->memory, PAGE, MADV_COLD);
	mprotect((void *)own->memory, PAGES * PAGE, PROT_READ);
	mprotect((void *)own->memory, PAGES * PAGE, PROT_READ | PROT_WRITE);
}

static int clear_own(struct access_bpf *access, struct own *own)
{
	struct iovec ranges[PAGES];
	uint8_t outcomes[PAGES];
	uint64_t pfns[PAGES];

	for (size_t i = 0; i < PAGES; i++) {
		ranges[i] = (struct iovec){(void *)(own->memory + i * PAGE), PAGE};
		pfns[i] = own->leaves[i].pfn;
	}
	if (access->idle_fd >= 0)
		return page_idle_clear(access->idle_fd, pfns, PAGES);
	return clear_cold(own->pidfd, ranges, PAGES, outcomes);
}

/** One round of touch, read, clear, read, touch, read; 1 if all went as it must. */
static int round_trip(struct access_bpf *access, struct own *own, int seen[3], double *read_ns,
		      double *clear_ns)
{
	int err;

	settle(access, own);
	touch(own);
	int64_t begin = access_thread_ns();

	seen[0] = count_young(access, own, true);
	*read_ns = (double)(access_thread_ns() - begin) / PAGES;
	begin = access_thread_ns();
	err = clear_own(access, own);
	*clear_ns = (double)(access_thread_ns() - begin) / PAGES;
	if (err)
		return err;
	seen[1] = count_young(access, own, false);
	settle(access, own);
	touch(own);
	seen[2] = count_young(access, own, false);
	return seen[0] == PAGES && seen[1] == 0 && seen[2] == PAGES;
}

/** The frame that reads of untouched memory show. */
static void find_zero_page(struct access_bpf *access, struct own *own)
{
	volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	(void)*page;
	own->requests[0].addr = (uint64_t)page;
	if (!walker_read(access->walker, own->requests, 1, own->leaves, false) &&
	    own->leaves[0].state == LEAF_PRESENT)
		access->zero_pfn = own->leaves[0].pfn;
	munmap((void *)page, PAGE);
}

static int run(struct access_bpf *access, struct own *own, char *error, size_t error_size)
{
	int seen[3] = {0}, ok = 0;
	struct vma vma;

	// Pages fresh from a fault may wait in a batch of another CPU: a few tries.
	for (int i = 0; ok <= 0 && i < TRIES; i++) {
		double read_ns, clear_ns;

		ok = round_trip(access, own, seen, &read_ns, &clear_ns);
		access->read_ns = read_ns;
		access->clear_ns = clear_ns;
		if (ok < 0)
			break;
	}
	if (ok < 0)
		snprintf(error, error_size, "clearing the accessed bits of our own pages failed: %s",
			 strerror(-ok));
	else if (!ok)
		snprintf(error, error_size, "of %d own pages, %d read as accessed after a touch, %d "
			 "after clearing, %d after another touch", PAGES, seen[0], seen[1], seen[2]);
	int fd = vma_open(getpid());

	// The kernel that can be asked for one mapping (6.11) also clears whole large folios without
	// splitting them (6.10).
	access->sweeper.large_ok = fd >= 0 && !vma_query(fd, (uint64_t)own->memory, &vma);
	if (fd >= 0)
		close(fd);
	find_zero_page(access, own);
	return ok > 0 ? 0 : -ENOTSUP;
}

int access_bpf_self_test(struct access_bpf *access, char *error, size_t error_size)
{
	struct own own = {.pidfd = syscall(SYS_pidfd_open, getpid(), 0)};
	struct walker_target self = {.pid = getpid()};
	int err = -ENOTSUP;

	own.memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (own.memory == MAP_FAILED) {
		snprintf(error, error_size, "out of memory");
		if (own.pidfd >= 0)
			close(own.pidfd);
		return -ENOTSUP;
	}
	madvise((void *)own.memory, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < PAGES; i++)
		own.requests[i].addr = (uint64_t)own.memory + i * PAGE;
	access_bpf_set_targets(access, NULL, 0);
	if (own.pidfd < 0)
		snprintf(error, error_size, "pidfd_open: %s", strerror(errno));
	else if (walker_set_targets(access->walker, &self, 1) < 0)
		snprintf(error, error_size, "out of memory");
	else
		err = run(access, &own, error, error_size);
	walker_set_targets(access->walker, NULL, 0);
	munmap((void *)own.memory, PAGES * PAGE);
	if (own.pidfd >= 0)
		close(own.pidfd);
	return err;
}

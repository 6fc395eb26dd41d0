// SPDX-License-Identifier: Apache-2.0
// The self-test of the access check, on pages of our own.
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "access/access_bpf.h"
#include "access/clear.h"
#include "sys/clock.h"
#include "sys/page.h"
#include "sys/page_idle.h"
#include "sys/vma.h"

#define PAGES 64
#define ENOUGH 16	// pages on the LRU lists
#define TRIES 5

struct own {
	volatile char *memory;
	int pidfd;
	struct leaf_request requests[PAGES];
	struct leaf leaves[PAGES];
	size_t nr;	// requests in use: all pages, then those that can be cleared
};

static void touch(struct own *own)
{
	for (size_t i = 0; i < PAGES; i++)
		own->memory[i * PAGE]++;
}

/** How many of the requested pages are young; negative errno. */
static int count_young(struct access_bpf *access, struct own *own, bool folios)
{
	int young = 0, err = walker_read(access->walker, own->requests, own->nr, own->leaves, folios);

	for (size_t i = 0; !err && i < own->nr; i++)
		young += own->leaves[i].state == LEAF_PRESENT && own->leaves[i].young;
	return err < 0 ? err : young;
}

/**
 * Put pages that wait in this CPU's batch on the LRU lists, and forget translations, which the
 * page_idle bitmap does not: a CPU that remembers a page does not set its accessed bit again, and
 * unlike a target we go on without being switched away.
 */
static void settle(struct access_bpf *access, struct own *own)
{
	madvise((void *)own->memory, PAGE, MADV_COLD);
	if (access->idle_fd < 0)
		return;
	mprotect((void *)own->memory, PAGES * PAGE, PROT_READ);
	mprotect((void *)own->memory, PAGES * PAGE, PROT_READ | PROT_WRITE);
}

/**
 * Fresh pages, all young. One that was faulted in on another CPU, just before we were moved to this
 * one, waits in that CPU's batch for as long as nothing happens there, and the kernel clears no page
 * that waits: those are left out, where they can be told.
 */
static int prepare(struct access_bpf *access, struct own *own)
{
	int64_t begin;
	int young;

	madvise((void *)own->memory, PAGES * PAGE, MADV_DONTNEED);
	touch(own);
	settle(access, own);
	touch(own);
	own->nr = PAGES;
	for (size_t i = 0; i < PAGES; i++)
		own->requests[i].addr = (uint64_t)own->memory + i * PAGE;
	begin = thread_ns();
	young = count_young(access, own, true);
	access->read_ns = (double)(thread_ns() - begin) / PAGES;
	if (young != PAGES)
		return young;
	own->nr = 0;
	for (size_t i = 0; i < PAGES; i++) {
		struct leaf *leaf = &own->leaves[i];

		if (access->settings.ignore_folios || !(leaf->folio_flags & FOLIO_KNOWN))
			kpage_folio(&access->kpage, leaf);
		if (!(leaf->folio_flags & FOLIO_KNOWN) || leaf->folio_flags & FOLIO_LRU) {
			own->leaves[own->nr] = *leaf;
			own->requests[own->nr++] = own->requests[i];
		}
	}
	return young;
}

static int clear_own(struct access_bpf *access, struct own *own)
{
	struct iovec ranges[PAGES];
	uint8_t outcomes[PAGES];
	uint64_t pfns[PAGES];

	for (size_t i = 0; i < own->nr; i++) {
		ranges[i] = (struct iovec){(void *)own->requests[i].addr, PAGE};
		pfns[i] = own->leaves[i].pfn;
	}
	if (access->idle_fd >= 0)
		return page_idle_clear(access->idle_fd, pfns, own->nr);
	return clear_cold(own->pidfd, ranges, own->nr, outcomes);
}

/** What was found young of how many pages, after a touch, a clear and another touch. */
struct found {
	int of_all, cleared, touched;
	size_t nr;
};

/** One round of touch, read, clear, read, touch, read; 1 if all went as it must. */
static int round_trip(struct access_bpf *access, struct own *own, struct found *found)
{
	int64_t begin;
	int err;

	*found = (struct found){.of_all = prepare(access, own), .nr = own->nr};
	if (found->of_all != PAGES || own->nr < ENOUGH)
		return found->of_all < 0 ? found->of_all : 0;
	begin = thread_ns();
	err = clear_own(access, own);
	access->clear_ns = (double)(thread_ns() - begin) / own->nr;
	if (err)
		return err;
	found->cleared = count_young(access, own, false);
	settle(access, own);
	touch(own);
	found->touched = count_young(access, own, false);
	return found->cleared == 0 && found->touched == (int)own->nr;
}

static void __attribute__((format(printf, 4, 5)))
fail(struct failure *failure, enum failure_code code, int err, const char *format, ...)
{
	va_list args;

	failure->code = code;
	failure->err = -err;
	va_start(args, format);
	vsnprintf(failure->text, sizeof(failure->text), format, args);
	va_end(args);
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

static int run(struct access_bpf *access, struct own *own, struct failure *failure)
{
	struct found found = {0};
	struct vma vma;
	int ok = 0;

	// The kernel takes a page off its list for a moment now and then: a few tries.
	for (int i = 0; !ok && i < TRIES; i++)
		ok = round_trip(access, own, &found);
	if (ok < 0)
		fail(failure, ok == -EPERM || ok == -EACCES ? FAIL_PRIVILEGE : FAIL_SELF_TEST, ok,
		     "clearing the accessed bits of our own pages failed: %s",
		     strerror(-ok));
	else if (!ok && found.nr < ENOUGH)
		fail(failure, FAIL_SELF_TEST, -ENOTSUP, "of %d own pages, %d read as accessed after a "
		     "touch, and %zu came onto the kernel's lists", PAGES, found.of_all, found.nr);
	else if (!ok)
		fail(failure, FAIL_SELF_TEST, -ENOTSUP, "of %zu own pages, %d read as accessed after "
		     "clearing, and %d after another touch", found.nr, found.cleared, found.touched);
	int fd = vma_open(getpid());

	// The kernel that can be asked for one mapping (6.11) also clears whole large folios without
	// splitting them (6.10).
	access->sweeper.large_ok = fd >= 0 && !vma_query(fd, (uint64_t)own->memory, &vma);
	if (fd >= 0)
		close(fd);
	find_zero_page(access, own);
	return ok > 0 ? 0 : -ENOTSUP;
}

int access_bpf_self_test(struct access_bpf *access, struct failure *failure)
{
	struct own own = {.pidfd = syscall(SYS_pidfd_open, getpid(), 0)};
	struct walker_target self = {.pid = getpid()};
	int err = -ENOTSUP, pidfd_error = errno;

	own.memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (own.memory == MAP_FAILED) {
		fail(failure, FAIL_OTHER, -ENOMEM, "out of memory");
		if (own.pidfd >= 0)
			close(own.pidfd);
		return -ENOTSUP;
	}
	madvise((void *)own.memory, PAGES * PAGE, MADV_NOHUGEPAGE);
	access_bpf_set_targets(access, NULL, 0);
	if (own.pidfd < 0)
		fail(failure, FAIL_OTHER, -pidfd_error, "pidfd_open: %s", strerror(pidfd_error));
	else if (walker_set_targets(access->walker, &self, 1) < 0)
		fail(failure, FAIL_OTHER, -ENOMEM, "out of memory");
	else
		err = run(access, &own, failure);
	access_bpf_set_targets(access, NULL, 0);
	munmap((void *)own.memory, PAGES * PAGE);
	if (own.pidfd >= 0)
		close(own.pidfd);
	return err;
}

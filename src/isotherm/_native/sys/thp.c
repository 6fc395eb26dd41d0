// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "sys/thp.h"

#define THP_DIR "/sys/kernel/mm/transparent_hugepage"
#define ASK_NS 1000000000ULL

static bool read_text(int fd, char *text, size_t size)
{
	ssize_t n = fd < 0 ? -1 : pread(fd, text, size - 1, 0);

	if (n <= 0)
		return false;
	text[n] = 0;
	return true;
}

static bool read_number(int fd, uint64_t *number)
{
	char text[32];

	if (!read_text(fd, text, sizeof(text)))
		return false;
	*number = strtoull(text, NULL, 10);
	return true;
}

static int open_count(uint64_t kib)
{
	char path[128];

	snprintf(path, sizeof(path), THP_DIR "/hugepages-%llukB/stats/nr_anon",
		 (unsigned long long)kib);
	return open(path, O_RDONLY | O_CLOEXEC);
}

void thp_open(struct thp *thp)
{
	uint64_t bytes = 0;
	int fd = open(THP_DIR "/hpage_pmd_size", O_RDONLY | O_CLOEXEC);

	*thp = (struct thp){.pmd_fd = -1, .meminfo_fd = -1};
	if (fd < 0) {
		// Without transparent huge pages in the kernel there are no large anonymous folios.
		thp->known = access(THP_DIR, F_OK) != 0;
		thp->none = thp->known;
		return;
	}
	read_number(fd, &bytes);
	close(fd);
	thp->pmd_kib = bytes / 1024;
	thp->pmd_fd = open_count(thp->pmd_kib);
	thp->meminfo_fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	thp->known = thp->pmd_fd >= 0 && thp->meminfo_fd >= 0;
	// From order 1; orders that this kernel does not make have no directory.
	for (uint64_t kib = 8; thp->known && kib < thp->pmd_kib && thp->nr_fds < THP_MAX_SIZES; kib *= 2) {
		fd = open_count(kib);
		if (fd >= 0)
			thp->nr_anon_fds[thp->nr_fds++] = fd;
	}
}

void thp_close(struct thp *thp)
{
	for (size_t i = 0; i < thp->nr_fds; i++)
		close(thp->nr_anon_fds[i]);
	if (thp->pmd_fd >= 0)
		close(thp->pmd_fd);
	if (thp->meminfo_fd >= 0)
		close(thp->meminfo_fd);
}

static bool ask(struct thp *thp)
{
	char text[4096];
	uint64_t folios;

	for (size_t i = 0; i < thp->nr_fds; i++)
		if (!read_number(thp->nr_anon_fds[i], &folios) || folios)
			return false;
	if (!read_number(thp->pmd_fd, &folios) || !read_text(thp->meminfo_fd, text, sizeof(text)))
		return false;
	// AnonHugePages counts only those mapped as one piece.
	const char *line = strstr(text, "AnonHugePages:");

	return line && strtoull(line + strlen("AnonHugePages:"), NULL, 10) == folios * thp->pmd_kib;
}

bool thp_none_split(struct thp *thp, uint64_t now_ns)
{
	if (thp->known && thp->pmd_fd >= 0 && (!thp->asked_ns || now_ns - thp->asked_ns >= ASK_NS)) {
		thp->none = ask(thp);
		thp->asked_ns = now_ns;
	}
	return thp->known && thp->none;
}

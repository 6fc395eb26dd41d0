// SPDX-License-Identifier: Apache-2.0
// How the running kernel lays out its structures, from its BTF, put into the area for the programs.
#define _GNU_SOURCE
#include "walker/walker_private.h"
#include "loader/btf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define WORD_TYPE "timespec64"	// begins with a 64-bit integer, see walk_fast.bpf.c

enum {
	TASK, MM, PAGE, FOLIO, THREAD_INFO, WORD, PAGE_FLAGS, RDONLY_CAST, ITER_NEW, ITER_NEXT,
	ITER_DESTROY, RCU_LOCK, RCU_UNLOCK, TASK_FROM_PID, TASK_RELEASE, ITER_TASK, VM_STRUCT, NR_NAMES,
};

static const struct btf_name kernel_names[NR_NAMES] = {
	[TASK] = {"task_struct", BTF_STRUCT, 0}, [MM] = {"mm_struct", BTF_STRUCT, 0},
	[PAGE] = {"page", BTF_STRUCT, 0}, [FOLIO] = {"folio", BTF_STRUCT, 0},
	[THREAD_INFO] = {"thread_info", BTF_STRUCT, 0}, [WORD] = {WORD_TYPE, BTF_STRUCT, 0},
	[PAGE_FLAGS] = {"pageflags", BTF_ENUM, 0},
	[RDONLY_CAST] = {"bpf_rdonly_cast", BTF_FUNC, 0},
	[ITER_NEW] = {"bpf_iter_num_new", BTF_FUNC, 0}, [ITER_NEXT] = {"bpf_iter_num_next", BTF_FUNC, 0},
	[ITER_DESTROY] = {"bpf_iter_num_destroy", BTF_FUNC, 0},
	[RCU_LOCK] = {"bpf_rcu_read_lock", BTF_FUNC, 0},
	[RCU_UNLOCK] = {"bpf_rcu_read_unlock", BTF_FUNC, 0},
	[TASK_FROM_PID] = {"bpf_task_from_pid", BTF_FUNC, 0},
	[TASK_RELEASE] = {"bpf_task_release", BTF_FUNC, 0},
	[ITER_TASK] = {"bpf_iter_task", BTF_FUNC, 0}, [VM_STRUCT] = {"vm_struct", BTF_STRUCT, 0},
};

static uint8_t *read_whole(const char *path, size_t *size)
{
	size_t room = 8 << 20, used = 0;
	uint8_t *data = malloc(room), *bigger;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 || !data ? -1 : 1;

	while (got > 0) {
		if (used == room) {
			bigger = realloc(data, room *= 2);
			if (!bigger) {
				got = -1;
				break;
			}
			data = bigger;
		}
		got = read(fd, data + used, room - used);
		used += got > 0 ? got : 0;
	}
	if (fd >= 0)
		close(fd);
	if (got < 0) {
		free(data);
		return NULL;
	}
	*size = used;
	return data;
}

// The first of several spellings over the years; -1 if the kernel has none of them.
static int member_of(const struct btf *btf, uint32_t id, const char *const *spellings)
{
	int at = -1;

	for (; *spellings && at < 0; spellings++)
		at = btf_member(btf, id, *spellings);
	return at;
}

#define MEMBER(btf, id, ...) member_of(btf, id, (const char *const[]){__VA_ARGS__, NULL})

uint32_t walker_cpu_words(const struct walker *walker)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	// A kernel for one CPU has neither member.
	if (!walker->area->config.mm_cpumask || !walker->area->config.task_cpu)
		return 0;
	// Only x86-64 keeps mm_cpumask() up to date.
	if (walker->format.machine != MACHINE_X86_64 || cpus < 1)
		return 0;
	if (cpus > 64 * (walker->facts.fast ? WALK_CPU_WORDS : 1))
		return 0;
	return (cpus + 63) / 64;
}

static int find_members(struct walker *walker, const struct btf *btf, const struct btf_name *names)
{
	struct walk_config *config = &walker->area->config;
	int tgid = btf_member(btf, names[TASK].id, "tgid");
	int leader = btf_member(btf, names[TASK].id, "group_leader");
	int start = MEMBER(btf, names[TASK].id, "start_boottime", "real_start_time", "start_time");
	int mm = btf_member(btf, names[TASK].id, "mm");
	int cpu = MEMBER(btf, names[TASK].id, "cpu", "thread_info.cpu");
	int pgd = btf_member(btf, names[MM].id, "pgd");
	int users = btf_member(btf, names[MM].id, "mm_users");
	int mask = btf_member(btf, names[MM].id, "cpu_bitmap");

	if (tgid < 0 || leader < 0 || start < 0 || mm < 0 || pgd < 0 || users < 0)
		return -EOPNOTSUPP;
	config->task_tgid = tgid;
	config->task_leader = leader;
	config->task_start = start;
	config->task_mm = mm;
	config->task_cpu = cpu < 0 ? 0 : cpu;	// a kernel for one CPU does not count them
	config->mm_pgd = pgd;
	config->mm_users = users;
	config->mm_cpumask = mask < 0 ? 0 : mask;
	config->cpu_words = walker_cpu_words(walker);
	return 0;
}

// Halves and bytes are read as the word that holds them and shifted out.
static uint32_t word_of(int at, uint8_t *shift)
{
	*shift = (at & 7) * 8;
	return at & ~7;
}

static void find_folio_members(struct walker *walker, const struct btf *btf,
			       const struct btf_name *names)
{
	struct walk_config *config = &walker->area->config;
	uint32_t page = names[PAGE].id, folio = names[FOLIO].id, flags = names[PAGE_FLAGS].id;
	int size = btf_size(btf, page), head = btf_member(btf, page, "compound_head");
	int mapcount = btf_member(btf, page, "_mapcount"), mapping = btf_member(btf, page, "mapping");
	int order = MEMBER(btf, folio, "_folio_order", "_flags_1");
	int large = btf_member(btf, folio, "_large_mapcount");
	int entire = btf_member(btf, folio, "_entire_mapcount");
	int ids = btf_member(btf, folio, "_mm_ids"), head_bit = btf_enumerator(btf, flags, "PG_head");
	uint8_t none;

	walker->folio.lru = btf_enumerator(btf, flags, "PG_lru");
	walker->folio.mlocked = btf_enumerator(btf, flags, "PG_mlocked");
	walker->folio.unevictable = btf_enumerator(btf, flags, "PG_unevictable");
	// Before struct folio told them, they stood in the page after the head.
	if (btf_member(btf, page, "compound_order") >= 0 && btf_member(btf, folio, "_folio_order") < 0)
		order = size + btf_member(btf, page, "compound_order");
	if (entire < 0 && btf_member(btf, page, "compound_mapcount") >= 0)
		entire = size + btf_member(btf, page, "compound_mapcount");
	if (head < 0 || mapcount < 0 || mapping < 0 || order < 0 || head_bit < 0 ||
	    walker->folio.lru < 0 || walker->folio.unevictable < 0) {
		walker_fail(walker->facts.folios_why_not, sizeof(walker->facts.folios_why_not), 0,
		     "struct page of this kernel lacks %s",
		     head < 0 ? "compound_head" : "a member that tells of folios");
		return;
	}
	config->page_size = size;
	config->page_head = head;
	config->page_mapping = mapping;
	config->page_mapcount = word_of(mapcount, &walker->folio.mapcount_shift);
	config->folio_order = word_of(order, &walker->folio.order_shift);
	config->folio_large_mapcount = large < 0 ? 0 : word_of(large, &walker->folio.large_shift);
	config->folio_entire_mapcount = entire < 0 ? 0 : word_of(entire, &walker->folio.entire_shift);
	config->folio_mm_ids = ids < 0 ? 0 : word_of(ids, &none);
	config->head_flag = 1ull << head_bit;
	walker->folio.has_large = large >= 0;
	walker->folio.has_entire = entire >= 0;
	walker->folio.has_mm_ids = ids >= 0;
	walker->folio.stack_area = btf_member(btf, names[TASK].id, "stack_vm_area");
	walker->folio.area_pages = btf_member(btf, names[VM_STRUCT].id, "pages");
	walker->folio.area_addr = btf_member(btf, names[VM_STRUCT].id, "addr");
	if (walker->folio.stack_area < 0 || walker->folio.area_pages < 0 || walker->folio.area_addr < 0)
		walker_fail(walker->facts.folios_why_not, sizeof(walker->facts.folios_why_not), 0,
		     "the kernel's stacks are not virtually mapped");
}

int walker_find_layout(struct walker *walker, char *error, size_t error_size)
{
	struct btf_name names[NR_NAMES];
	struct btf btf;
	size_t size;
	uint8_t *data = read_whole(BTF_PATH, &size);
	int ret;

	if (!data)
		return walker_fail(error, error_size, -ENOTSUP, "cannot read " BTF_PATH ": %s",
			    strerror(errno));
	memcpy(names, kernel_names, sizeof(names));
	ret = btf_init(&btf, data, size, names, NR_NAMES);
	if (ret)
		return walker_fail(error, error_size, -ENOTSUP, BTF_PATH " is in a format unknown here");
	ret = find_members(walker, &btf, names);
	if (ret)
		walker_fail(error, error_size, ret, BTF_PATH " lacks a member of task_struct or mm_struct");
	find_folio_members(walker, &btf, names);
	walker->iter_type = names[ITER_TASK].id;
	walker->symbols[SYMBOL_WORD].value = names[WORD].id;
	for (int i = 0; i <= TASK_RELEASE - RDONLY_CAST; i++)
		walker->symbols[SYMBOL_RDONLY_CAST + i].value = names[RDONLY_CAST + i].id;
	btf_deinit(&btf);
	return ret;
}

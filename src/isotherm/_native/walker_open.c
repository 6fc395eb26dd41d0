// SPDX-License-Identifier: Apache-2.0
// Opening: the kernel's structures from its BTF, the maps, the fast programs or else the base ones.
#define _GNU_SOURCE
#include "walker_private.h"
#include "btf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static int fail(char *error, size_t size, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	return code;
}

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

static uint32_t usable_cpu_words(const struct walker *walker)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

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

	if (tgid < 0 || leader < 0 || start < 0 || mm < 0 || cpu < 0 || pgd < 0 || users < 0)
		return -EOPNOTSUPP;
	config->task_tgid = tgid;
	config->task_leader = leader;
	config->task_start = start;
	config->task_mm = mm;
	config->task_cpu = cpu;
	config->mm_pgd = pgd;
	config->mm_users = users;
	config->mm_cpumask = mask < 0 ? 0 : mask;
	config->cpu_words = mask < 0 ? 0 : usable_cpu_words(walker);
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
		fail(walker->facts.folios_why_not, sizeof(walker->facts.folios_why_not), 0,
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
		fail(walker->facts.folios_why_not, sizeof(walker->facts.folios_why_not), 0,
		     "the kernel's stacks are not virtually mapped");
}

static int read_btf(struct walker *walker, char *error, size_t error_size)
{
	struct btf_name names[NR_NAMES];
	struct btf btf;
	size_t size;
	uint8_t *data = read_whole(BTF_PATH, &size);
	int ret;

	if (!data)
		return fail(error, error_size, -ENOTSUP, "cannot read " BTF_PATH ": %s",
			    strerror(errno));
	memcpy(names, kernel_names, sizeof(names));
	ret = btf_init(&btf, data, size, names, NR_NAMES);
	if (ret)
		return fail(error, error_size, -ENOTSUP, BTF_PATH " is in a format unknown here");
	ret = find_members(walker, &btf, names);
	if (ret)
		fail(error, error_size, ret, BTF_PATH " lacks a member of task_struct or mm_struct");
	find_folio_members(walker, &btf, names);
	walker->iter_type = names[ITER_TASK].id;
	walker->symbols[SYMBOL_WORD].value = names[WORD].id;
	for (int i = 0; i <= TASK_RELEASE - RDONLY_CAST; i++)
		walker->symbols[SYMBOL_RDONLY_CAST + i].value = names[RDONLY_CAST + i].id;
	btf_deinit(&btf);
	return ret;
}

// ---- programs ----

static const struct bpf_symbol program_symbols[NR_SYMBOLS] = {
	[SYMBOL_AREA] = {"area", BPF_SYMBOL_MAP, 0},
	[SYMBOL_TABLES] = {"tables", BPF_SYMBOL_MAP, 0},
	[SYMBOL_WORD] = {"btf_id_word", BPF_SYMBOL_NUMBER, 0},
	[SYMBOL_RDONLY_CAST] = {"bpf_rdonly_cast", BPF_SYMBOL_KFUNC, 0},
	[SYMBOL_ITER_NEW] = {"bpf_iter_num_new", BPF_SYMBOL_KFUNC, 0},
	[SYMBOL_ITER_NEXT] = {"bpf_iter_num_next", BPF_SYMBOL_KFUNC, 0},
	[SYMBOL_ITER_DESTROY] = {"bpf_iter_num_destroy", BPF_SYMBOL_KFUNC, 0},
	[SYMBOL_RCU_LOCK] = {"bpf_rcu_read_lock", BPF_SYMBOL_KFUNC, 0},
	[SYMBOL_RCU_UNLOCK] = {"bpf_rcu_read_unlock", BPF_SYMBOL_KFUNC, 0},
	[SYMBOL_TASK_FROM_PID] = {"bpf_task_from_pid", BPF_SYMBOL_KFUNC, 0},
	[SYMBOL_TASK_RELEASE] = {"bpf_task_release", BPF_SYMBOL_KFUNC, 0},
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_programs(struct walker *walker)
{
	close_fd(&walker->walk_fd);
	close_fd(&walker->peek_fd);
	close_fd(&walker->find_fd);
	close_fd(&walker->folios_fd);
	close_fd(&walker->copy_fd);
}

static int load_program(struct walker *walker, const char *name, char *error, size_t error_size)
{
	char section[32], reason[160] = "";
	const char *prefix = walker->facts.fast ? "syscall" : "raw_tp";
	int fd;

	if (!strcmp(name, "processes"))
		prefix = "iter_task";
	snprintf(section, sizeof(section), "%s/%s", prefix, name);
	fd = bpf_load(&walker->object, section, walker->iter_type, reason, sizeof(reason));
	if (fd < 0)
		fail(error, error_size, 0, "program %s: %s", section, *reason ? reason : strerror(-fd));
	return fd;
}

static int load_programs(struct walker *walker, bool fast, char *error, size_t error_size)
{
	walker->facts.fast = fast;
	walker->max_slots = fast ? WALK_FAST_SLOTS : WALK_BASE_SLOTS;
	walker->max_targets = fast ? WALK_FAST_TARGETS : WALK_BASE_TARGETS;
	walker->max_pages = fast ? WALK_FAST_PAGES : WALK_BASE_PAGES;
	walker->max_tables = fast ? WALK_FAST_TABLES : WALK_BASE_TABLES;
	walker->walk_fd = load_program(walker, "walk", error, error_size);
	if (walker->walk_fd < 0)
		return walker->walk_fd;
	walker->peek_fd = load_program(walker, "peek", error, error_size);
	if (walker->peek_fd < 0)
		return walker->peek_fd;
	walker->find_fd = load_program(walker, fast ? "resolve" : "processes", error, error_size);
	return walker->find_fd < 0 ? walker->find_fd : 0;
}

static int copy_object(struct walker *walker, const void *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, size);
	free((void *)walker->object.data);
	walker->object = (struct bpf_object){copy, size, walker->symbols, NR_SYMBOLS};
	return 0;
}

static int choose_programs(struct walker *walker, const struct walker_objects *objects,
			   char *error, size_t error_size)
{
	int ret = -ENOENT;

	if (objects->fast_size) {
		ret = copy_object(walker, objects->fast, objects->fast_size);
		if (!ret)
			ret = load_programs(walker, true, walker->facts.fast_why_not,
					    sizeof(walker->facts.fast_why_not));
		if (!ret)
			return 0;
		close_programs(walker);
	} else {
		fail(walker->facts.fast_why_not, sizeof(walker->facts.fast_why_not), 0,
		     "not asked for");
	}
	ret = copy_object(walker, objects->base, objects->base_size);
	return ret ? ret : load_programs(walker, false, error, error_size);
}

int walker_tables_init(struct walker *walker)
{
	char error[256];
	void *memory;
	int fd;

	if (walker->copy_fd >= 0)
		return 0;
	if (!walker->tables) {
		fd = bpf_shared_map("isotherm_tables", sizeof(*walker->tables), &memory);
		if (fd < 0)
			return fd;
		walker->tables_fd = fd;
		walker->tables = memory;
		walker->symbols[SYMBOL_TABLES].value = fd;
	}
	fd = load_program(walker, "tables", error, sizeof(error));
	walker->copy_fd = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

// ---- opening ----

static int explain_refusal(int code, char *error, size_t error_size)
{
	char line[128] = "";
	FILE *file = fopen("/sys/kernel/security/lockdown", "re");

	if (file) {
		if (!fgets(line, sizeof(line), file))
			line[0] = 0;
		fclose(file);
	}
	if (strstr(line, "[confidentiality]"))
		return fail(error, error_size, -EPERM,
			    "the kernel is locked down (confidentiality): nothing may read its memory");
	if (code == -EPERM || code == -EACCES)
		return fail(error, error_size, -EPERM,
			    "loading BPF programs takes root, or CAP_BPF and CAP_PERFMON");
	return code;
}

// We are our own first target. The kernel tells our number as it counts: if it differs from what we
// think it is, all numbers here are those of a PID namespace.
static int find_ourselves(struct walker *walker, char *error, size_t error_size)
{
	const struct walker_target self = {.pid = getpid()};
	uint64_t nothing;
	uint32_t index = 0;
	int ret = walker_peek(walker, 0, &nothing);

	if (!ret && walker->area->config.caller != (uint64_t)getpid())
		return fail(error, error_size, -EXDEV,
			    "process numbers here are those of a PID namespace, not the host's");
	if (!ret)
		ret = walker_set_targets(walker, &self, 1);
	if (!ret)
		ret = walker_resolve(walker, &index, 1);
	if (!ret && walker->targets[0].state != WALKER_ALIVE)
		ret = -ESRCH;
	if (ret)
		fail(error, error_size, 0, "looking up our own process failed: %s", strerror(-ret));
	return ret;
}

static int walker_init(struct walker *walker, const struct walker_objects *objects, char *error,
		       size_t error_size)
{
	void *memory = NULL;
	int ret;

	if (sysconf(_SC_PAGESIZE) != 4096)
		return fail(error, error_size, -ENOTSUP, "pages of %ld bytes are not supported",
			    sysconf(_SC_PAGESIZE));
	ret = bpf_shared_map("isotherm_area", sizeof(*walker->area), &memory);
	if (ret < 0) {
		fail(error, error_size, 0, "creating a BPF map failed: %s", strerror(-ret));
		return explain_refusal(ret, error, error_size);
	}
	walker->area = memory;
	walker->area_fd = walker->symbols[SYMBOL_AREA].value = ret;
	ret = read_btf(walker, error, error_size);
	if (ret)
		return ret;
	ret = choose_programs(walker, objects, error, error_size);
	if (ret)
		return explain_refusal(ret, error, error_size);
	walker->area->config.cpu_words =
		walker->area->config.mm_cpumask ? usable_cpu_words(walker) : 0;
	walker->local_target = malloc(walker->max_targets * sizeof(uint32_t));
	walker->slot_request = malloc(walker->max_slots * sizeof(uint32_t));
	if (!walker->local_target || !walker->slot_request)
		return -ENOMEM;
	ret = find_ourselves(walker, error, error_size);
	if (ret)
		return ret;
	ret = walker_find_map(walker, error, error_size);
	if (ret)
		return ret;
	walker->facts.max_tables = walker->max_tables;
	if (!*walker->facts.folios_why_not) {
		walker->folios_fd = load_program(walker, "folios", walker->facts.folios_why_not,
						 sizeof(walker->facts.folios_why_not));
		walker->facts.folios = walker->folios_fd >= 0 && !walker_folios_init(walker);
	}
	return walker_set_targets(walker, NULL, 0);
}

struct walker *walker_open(const struct walker_objects *objects, char *error, size_t error_size)
{
	struct walker *walker = calloc(1, sizeof(*walker));
	int ret = -ENOMEM;

	if (error_size)
		*error = 0;
	if (walker) {
		memcpy(walker->symbols, program_symbols, sizeof(program_symbols));
		walker->area_fd = walker->tables_fd = -1;
		walker->walk_fd = walker->peek_fd = walker->find_fd = -1;
		walker->folios_fd = walker->copy_fd = -1;
#ifdef __aarch64__
		walker->format.machine = MACHINE_ARM64;
#endif
		ret = walker_init(walker, objects, error, error_size);
	}
	if (!ret)
		return walker;
	if (error_size && !*error)
		fail(error, error_size, 0, "%s", strerror(-ret));
	walker_close(walker);
	errno = -ret;
	return NULL;
}

void walker_close(struct walker *walker)
{
	if (!walker)
		return;
	close_programs(walker);
	if (walker->area)
		munmap(walker->area, sizeof(*walker->area));
	if (walker->tables)
		munmap(walker->tables, sizeof(*walker->tables));
	close_fd(&walker->area_fd);
	close_fd(&walker->tables_fd);
	free((void *)walker->object.data);
	free(walker->local_target);
	free(walker->slot_request);
	free(walker->targets);
	free(walker->tracked);
	free(walker);
}

// SPDX-License-Identifier: Apache-2.0
// Opening: the maps, the fast programs or else the base ones, then what they find.
#define _GNU_SOURCE
#include "sys/page.h"
#include "walker/walker_private.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int walker_fail(char *error, size_t size, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	return code;
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
	close_fd(&walker->clumps_fd);
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
		walker_fail(error, error_size, 0, "program %s: %s", section, *reason ? reason : strerror(-fd));
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
		walker_fail(walker->facts.fast_why_not, sizeof(walker->facts.fast_why_not), 0,
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

int walker_clumps_init(struct walker *walker)
{
	char error[256];
	int fd, ret;

	if (walker->clumps_fd >= 0)
		return 0;
	ret = walker_tables_init(walker);
	if (ret)
		return ret;
	fd = load_program(walker, "clumps", error, sizeof(error));
	walker->clumps_fd = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

// ---- opening ----

static int explain_refusal(struct walker *walker, int code, char *error, size_t error_size)
{
	char line[128] = "";
	FILE *file = fopen("/sys/kernel/security/lockdown", "re");

	if (file) {
		if (!fgets(line, sizeof(line), file))
			line[0] = 0;
		fclose(file);
	}
	if (strstr(line, "[confidentiality]")) {
		walker->failed = FAIL_LOCKDOWN;
		return walker_fail(error, error_size, -EPERM,
			    "the kernel is locked down (confidentiality): nothing may read its memory");
	}
	if (code == -EPERM || code == -EACCES) {
		walker->failed = FAIL_PRIVILEGE;
		return walker_fail(error, error_size, -EPERM,
			    "loading BPF programs takes root, or CAP_BPF and CAP_PERFMON");
	}
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

	if (!ret && walker->area->config.caller != (uint64_t)getpid()) {
		walker->failed = FAIL_NAMESPACE;
		return walker_fail(error, error_size, -EXDEV,
			    "process numbers here are those of a PID namespace, not the host's");
	}
	if (!ret)
		ret = walker_set_targets(walker, &self, 1);
	if (!ret)
		ret = walker_resolve(walker, &index, 1);
	if (!ret && walker->targets[0].state != WALKER_ALIVE)
		ret = -ESRCH;
	if (ret)
		walker_fail(error, error_size, 0, "looking up our own process failed: %s", strerror(-ret));
	return ret;
}

static int walker_init(struct walker *walker, const struct walker_objects *objects, char *error,
		       size_t error_size)
{
	void *memory = NULL;
	int ret;

	if (sysconf(_SC_PAGESIZE) != (long)PAGE)
		return walker_fail(error, error_size, -ENOTSUP, "pages of %ld bytes are not supported",
			    sysconf(_SC_PAGESIZE));
	ret = bpf_shared_map("isotherm_area", sizeof(*walker->area), &memory);
	if (ret < 0) {
		walker_fail(error, error_size, 0, "creating a BPF map failed: %s", strerror(-ret));
		return explain_refusal(walker, ret, error, error_size);
	}
	walker->area = memory;
	walker->area_fd = walker->symbols[SYMBOL_AREA].value = ret;
	ret = walker_find_layout(walker, error, error_size);
	if (ret) {
		walker->failed = FAIL_TYPES;
		return ret;
	}
	ret = choose_programs(walker, objects, error, error_size);
	if (ret)
		return explain_refusal(walker, ret, error, error_size);
	// Again, now that it is known how many the programs look at.
	walker->area->config.cpu_words = walker_cpu_words(walker);
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
	walker->facts.max_clumps = walker->facts.fast ? WALK_FAST_CLUMPS : WALK_BASE_CLUMPS;
	if (!*walker->facts.folios_why_not) {
		walker->folios_fd = load_program(walker, "folios", walker->facts.folios_why_not,
						 sizeof(walker->facts.folios_why_not));
		walker->facts.folios = walker->folios_fd >= 0 && !walker_folios_init(walker);
	}
	return walker_set_targets(walker, NULL, 0);
}

struct walker *walker_open(const struct walker_objects *objects, struct failure *failure)
{
	struct walker *walker = calloc(1, sizeof(*walker));
	int ret = -ENOMEM;

	*failure = (struct failure){.code = FAIL_OTHER};
	if (walker) {
		gate_init(&walker->gate);
		memcpy(walker->symbols, program_symbols, sizeof(program_symbols));
		walker->area_fd = walker->tables_fd = -1;
		walker->walk_fd = walker->peek_fd = walker->find_fd = -1;
		walker->folios_fd = walker->copy_fd = walker->clumps_fd = -1;
#ifdef __aarch64__
		walker->format.machine = MACHINE_ARM64;
#endif
		ret = walker_init(walker, objects, failure->text, sizeof(failure->text));
	}
	if (!ret)
		return walker;
	failure->err = -ret;
	if (walker && walker->failed)
		failure->code = walker->failed;
	else if (ret == -EPERM || ret == -EACCES)
		failure->code = FAIL_PRIVILEGE;
	if (!*failure->text)
		walker_fail(failure->text, sizeof(failure->text), 0, "%s", strerror(-ret));
	walker_free(walker);
	return NULL;
}

void walker_close(struct walker *walker)
{
	if (!gate_close(&walker->gate))
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
}

void walker_free(struct walker *walker)
{
	if (!walker)
		return;
	walker_close(walker);
	gate_deinit(&walker->gate);
	free(walker);
}

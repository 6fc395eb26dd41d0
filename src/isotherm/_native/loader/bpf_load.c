// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "loader/bpf_load.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define F_SLEEPABLE (1U << 4)	// BPF_F_SLEEPABLE
#define TYPE_SYSCALL 31		// BPF_PROG_TYPE_SYSCALL
#define ATTACH_ITER 28		// BPF_TRACE_ITER
#define LOG_SIZE (1 << 18)
#define ITERATOR_CHUNK (1 << 16)

int bpf_call(enum bpf_cmd command, union bpf_attr *attr, size_t size)
{
	long ret = syscall(__NR_bpf, command, attr, size);

	return ret < 0 ? -errno : (int)ret;
}

// Before 5.11 maps count against the limit on locked memory.
static void lift_locked_limit(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

int bpf_shared_map(const char *name, size_t size, void **memory)
{
	union bpf_attr attr = {};
	int fd;

	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = 4;
	attr.value_size = (size + 7) & ~7ul;
	attr.max_entries = 1;
	attr.map_flags = 1U << 10;	// BPF_F_MMAPABLE
	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	fd = bpf_call(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd == -EPERM) {
		lift_locked_limit();
		fd = bpf_call(BPF_MAP_CREATE, &attr, sizeof(attr));
	}
	if (fd < 0)
		return fd;
	*memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*memory == MAP_FAILED) {
		int ret = -errno;

		close(fd);
		*memory = NULL;
		return ret;
	}
	return fd;
}

static bool set_type(union bpf_attr *attr, const char *section, int attach_id)
{
	if (!strncmp(section, "raw_tp/", 7)) {
		attr->prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT;
	} else if (!strncmp(section, "syscall/", 8)) {
		attr->prog_type = TYPE_SYSCALL;
		attr->prog_flags = F_SLEEPABLE;
	} else if (!strncmp(section, "iter_task/", 10)) {
		attr->prog_type = BPF_PROG_TYPE_TRACING;
		attr->expected_attach_type = ATTACH_ITER;
		attr->attach_btf_id = attach_id;
	} else {
		return false;
	}
	strncpy(attr->prog_name, strchr(section, '/') + 1, sizeof(attr->prog_name) - 1);
	return true;
}

// The verifier's last words: the line before its statistics.
static void explain(char *error, size_t size, int code, char *log)
{
	char *line = log, *said = NULL, *rest = NULL;

	for (line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (strstr(line, "processed ") == line)
			break;
		said = line;
	}
	if (said)
		snprintf(error, size, "%s: %s", strerror(-code), said);
	else
		snprintf(error, size, "%s", strerror(-code));
}

static int load(union bpf_attr *attr, char *error, size_t error_size)
{
	int fd = bpf_call(BPF_PROG_LOAD, attr, sizeof(*attr));
	char *log;

	if (fd >= 0)
		return fd;
	log = calloc(1, LOG_SIZE);
	if (log) {
		attr->log_buf = (uintptr_t)log;
		attr->log_size = LOG_SIZE;
		attr->log_level = 1;
		fd = bpf_call(BPF_PROG_LOAD, attr, sizeof(*attr));
		if (fd < 0)
			explain(error, error_size, fd, log);
		free(log);
	}
	return fd;
}

int bpf_load(const struct bpf_object *object, const char *section, int attach_id, char *error,
	     size_t error_size)
{
	union bpf_attr attr = {};
	struct bpf_program program;
	int ret;

	if (!set_type(&attr, section, attach_id))
		return -ENOENT;
	ret = bpf_program_init(&program, object, section, error, error_size);
	if (ret)
		return ret;
	attr.insns = (uintptr_t)program.insns;
	attr.insn_cnt = program.nr;
	attr.license = (uintptr_t)program.license;
	ret = load(&attr, error, error_size);
	bpf_program_deinit(&program);
	return ret;
}

int bpf_run(int program)
{
	union bpf_attr attr = {};
	int ret;

	attr.test.prog_fd = program;
	do {
		ret = bpf_call(BPF_PROG_TEST_RUN, &attr, sizeof(attr.test));
	} while (ret == -EINTR);
	return ret;
}

long bpf_read_iterator(int program, void **data)
{
	union bpf_attr attr = {};
	size_t room = 0, used = 0;
	char *buffer = NULL, *bigger;
	long got = 0;
	int link, iterator;

	attr.link_create.prog_fd = program;
	attr.link_create.attach_type = ATTACH_ITER;
	link = bpf_call(BPF_LINK_CREATE, &attr, sizeof(attr));
	if (link < 0)
		return link;
	attr = (union bpf_attr){};
	attr.iter_create.link_fd = link;
	iterator = bpf_call(BPF_ITER_CREATE, &attr, sizeof(attr));
	close(link);
	if (iterator < 0)
		return iterator;
	do {
		if (room - used < ITERATOR_CHUNK) {
			room = 2 * room + ITERATOR_CHUNK;
			bigger = realloc(buffer, room);
			if (!bigger) {
				got = -ENOMEM;
				break;
			}
			buffer = bigger;
		}
		got = read(iterator, buffer + used, room - used);
		if (got < 0)
			got = errno == EINTR || errno == EAGAIN ? 1 : -errno;
		else
			used += got;
	} while (got > 0);
	close(iterator);
	if (got < 0) {
		free(buffer);
		return got;
	}
	*data = buffer;
	return used;
}

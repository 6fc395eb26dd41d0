// SPDX-License-Identifier: Apache-2.0
// Loads programs of a BPF object file into the kernel through bpf(2), without libbpf.
#pragma once
#include "loader/bpf_object.h"

/** bpf(2), -errno on failure. */
int bpf_call(enum bpf_cmd command, union bpf_attr *attr, size_t size);

/** An array map of one value that is also mapped to *@memory. Its file descriptor or -errno. */
int bpf_shared_map(const char *name, size_t size, void **memory);

/**
 * Load the program in section @section ("raw_tp/walk"); the part before the slash says its type:
 * raw_tp, syscall or iter_task (whose @attach_id is the BTF number of bpf_iter_task). Its file
 * descriptor, or -errno with the reason in @error, of bpf_program_init() or what the kernel said.
 */
int bpf_load(const struct bpf_object *object, const char *section, int attach_id, char *error,
	     size_t error_size);

/** Run once; 0 or -errno. */
int bpf_run(int program);

/** Read everything an iterator program writes to *@data (malloc'd); bytes or -errno. */
long bpf_read_iterator(int program, void **data);


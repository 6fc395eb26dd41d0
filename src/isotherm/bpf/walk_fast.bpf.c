// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// For kernels from 6.4 on: plain loads instead of a helper call for each word, numeric iterators, so
// thousands of addresses in one call, and processes looked up by number.
#include "walk_abi.h"

// A kernel type whose first 8 bytes are an integer: a window through which any address is read. A
// load through it that faults gives 0.
struct word { w64 value; };
struct task;
struct bpf_iter_num { w64 state; } __attribute__((aligned(8)));

// The loader puts numbers of the running kernel's BTF in the place of these.
extern const char btf_id_word;
extern const struct word *bpf_rdonly_cast(const void *object, w32 btf_id);
extern int bpf_iter_num_new(struct bpf_iter_num *iter, int start, int end);
extern int *bpf_iter_num_next(struct bpf_iter_num *iter);
extern void bpf_iter_num_destroy(struct bpf_iter_num *iter);
extern void bpf_rcu_read_lock(void);
extern void bpf_rcu_read_unlock(void);
extern struct task *bpf_task_from_pid(s32w pid);
extern void bpf_task_release(struct task *task);

static long (*bpf_probe_read_kernel)(void *to, w32 size, const void *from) = (void *)113;

#define probe_read_kernel bpf_probe_read_kernel
#define WALK_READ(address) \
	(bpf_rdonly_cast((const void *)(address), (w32)(w64)&btf_id_word)->value)
#define FOR_EACH(i, nr, max)						\
	{								\
		struct bpf_iter_num iter_##i;				\
		int *at_##i;						\
									\
		bpf_iter_num_new(&iter_##i, 0, (nr));			\
		while ((at_##i = bpf_iter_num_next(&iter_##i))) {	\
			w32 i = *at_##i;				\
									\
			if (i >= (max))					\
				break;
#define END_EACH } bpf_iter_num_destroy(&iter_i); }
#define RCU_LOCK() bpf_rcu_read_lock()
#define RCU_UNLOCK() bpf_rcu_read_unlock()
#define MAX_SLOTS WALK_FAST_SLOTS
#define MAX_TARGETS WALK_FAST_TARGETS
#define MAX_PAGES WALK_FAST_PAGES
#define MAX_TABLES WALK_FAST_TABLES
#define MAX_CLUMPS WALK_FAST_CLUMPS
#define CPU_WORDS WALK_CPU_WORDS
#define PROGRAM_TYPE "syscall"
#include "walk_programs.h"

/* Find targets[].task by targets[].tid, which counts as the initial PID namespace does. */
SEC("syscall/resolve") int resolve(void *ctx)
{
	struct walk_area *a = the_area();

	if (!a)
		return 1;
	FOR_EACH(i, a->config.nr_targets, MAX_TARGETS)
		struct task *task = bpf_task_from_pid(a->targets[i].tid);

		a->targets[i].task = (w64)task;
		if (task)
			bpf_task_release(task);
	END_EACH
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

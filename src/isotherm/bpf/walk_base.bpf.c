// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// For every kernel from 5.10 on: no kfunc, no bpf_loop, no BTF of our own. Processes are found with
// the task iterator, one pass for all of them.
#include "walk_abi.h"

static long (*bpf_probe_read_kernel)(void *to, w32 size, const void *from) = (void *)113;
static long (*bpf_seq_write)(void *seq, const void *data, w32 size) = (void *)127;

static inline __attribute__((always_inline)) w64 probe_word(w64 address)
{
	w64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (const void *)address);
	return word;
}

#define probe_read_kernel bpf_probe_read_kernel
#define WALK_READ(address) probe_word(address)
#define FOR_EACH(i, nr, max)						\
	{								\
		w32 nr_##i = (nr);					\
		for (w32 i = 0; i < (max); i++) {			\
			if (i >= nr_##i)				\
				break;
#define END_EACH }}
/* A raw tracepoint program runs under the RCU read lock. */
#define RCU_LOCK()
#define RCU_UNLOCK()
#define MAX_SLOTS WALK_BASE_SLOTS
#define MAX_TARGETS WALK_BASE_TARGETS
#define MAX_PAGES WALK_BASE_PAGES
#define MAX_TABLES WALK_BASE_TABLES
#define MAX_CLUMPS WALK_BASE_CLUMPS
#define CPU_WORDS 1
#define PROGRAM_TYPE "raw_tp"
#include "walk_programs.h"

// The context of the task iterator, as the kernel has kept it since 5.8.
struct iter_meta { void *seq; };
struct iter_task { struct iter_meta *meta; void *task; };

SEC("iter_task/processes") int processes(struct iter_task *ctx)
{
	struct walk_area *a = the_area();
	struct walk_process found = {};
	w64 leader;

	// As a number: the offsets are not constants, so the verifier must not see a pointer.
	found.task = probe_word((w64)&ctx->task);
	if (!a || !found.task || !probe_word(found.task + a->config.task_mm))
		return 0;
	leader = probe_word(found.task + a->config.task_leader);
	// Other threads speak for the process only if its main thread has ended.
	if (leader != found.task && probe_word(leader + a->config.task_mm))
		return 0;
	found.tgid = read_half(found.task + a->config.task_tgid);
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

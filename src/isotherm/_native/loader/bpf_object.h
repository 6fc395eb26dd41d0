// SPDX-License-Identifier: Apache-2.0
// Programs in a BPF object file, made ready for the kernel: plain bytes in, instructions out.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <linux/bpf.h>

/** What a symbol that a program refers to stands for. */
struct bpf_symbol {
	const char *name;
	enum { BPF_SYMBOL_MAP, BPF_SYMBOL_KFUNC, BPF_SYMBOL_NUMBER } kind;
	int value;	// a map's file descriptor, a function's BTF number, a number
};

struct bpf_object {
	const uint8_t *data;
	size_t size;
	const struct bpf_symbol *symbols;
	size_t nr_symbols;
};

struct bpf_program {
	struct bpf_insn *insns;
	size_t nr;
	const char *license;	// points into the object
};

/**
 * Take the program in section @section out of the object and put the symbols' values in. 0, or with
 * the reason in @error: -ENOENT no such section, -ENOEXEC a damaged object, -EOPNOTSUPP a symbol
 * that the kernel does not have (value 0).
 */
int bpf_program_init(struct bpf_program *program, const struct bpf_object *object,
		     const char *section, char *error, size_t error_size);
void bpf_program_deinit(struct bpf_program *program);

// SPDX-License-Identifier: Apache-2.0
// The type information of the running kernel (BTF): where its structures keep their members, and the
// numbers of its types and functions. One pass over the file for all the names asked for.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum btf_kind {
	BTF_STRUCT = 4,
	BTF_ENUM = 6,
	BTF_FUNC = 12,
};

struct btf_name {
	const char *name;
	uint32_t kind;	// enum btf_kind
	uint32_t id;	// out: number of the first such type, 0 if there is none
};

struct btf {
	uint8_t *data;
	size_t size;
	const uint8_t *types;
	const char *strings;
	uint32_t types_size, strings_size;
	uint32_t *at;		// byte position of each type in types
	uint32_t nr;		// types, number 0 included
};

/**
 * Parse @size bytes at @data, which the btf owns from now on (malloc'd), and look up @names.
 * 0; -EINVAL if it is no BTF; -EOPNOTSUPP if it holds a kind of type that is not known here and does
 * not tell how long it is, and that cannot be found out.
 */
int btf_init(struct btf *btf, uint8_t *data, size_t size, struct btf_name *names, size_t nr);
void btf_deinit(struct btf *btf);

/**
 * Byte offset of @member, looked for in @id and in the unnamed structures and unions inside of it; a
 * dot leads into a named one ("thread_info.cpu"). -1 if there is none.
 */
int btf_member(const struct btf *btf, uint32_t id, const char *member);
/** Bytes of a structure. */
uint32_t btf_size(const struct btf *btf, uint32_t id);
/** Value of an enumerator, -1 if there is none. */
int btf_enumerator(const struct btf *btf, uint32_t id, const char *name);

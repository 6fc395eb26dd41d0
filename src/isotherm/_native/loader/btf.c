// SPDX-License-Identifier: Apache-2.0
// Format: Documentation/bpf/btf.rst of the kernel.
#include "loader/btf.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0xeb9f
#define MAX_NESTING 8
#define MAX_NAMES 64

enum { KIND_UNION = 5 };

struct header {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t length, type_offset, type_length, string_offset, string_length;
};

struct type {
	uint32_t name, info, size_or_type;
};

struct member {
	uint32_t name, type, offset;
};

static uint32_t kind_of(const struct type *type) { return type->info >> 24 & 31; }
static uint32_t count_of(const struct type *type) { return type->info & 0xffff; }

// Bytes that follow struct type, -1 for a kind unknown here: its length is unknown too.
static long tail_bytes(uint32_t kind, uint32_t count)
{
	switch (kind) {
	case 1: case 14: case 17:			// INT, VAR, DECL_TAG
		return 4;
	case 3:						// ARRAY
		return 12;
	case BTF_STRUCT: case KIND_UNION: case 15: case 19:	// DATASEC, ENUM64
		return 12l * count;
	case BTF_ENUM: case 13:				// FUNC_PROTO
		return 8l * count;
	case 2: case 7: case 8: case 9: case 10: case 11: case BTF_FUNC: case 16: case 18:
		return 0;
	default:
		return -1;
	}
}

// Each string is stored once, so comparing positions is comparing names: one pass over the strings
// spares a comparison for each of a hundred thousand types.
static void find_strings(const struct btf *btf, const struct btf_name *names, size_t nr,
			 uint32_t *found)
{
	size_t left = nr, lengths[MAX_NAMES];
	bool initial[256] = {};

	for (size_t i = 0; i < nr; i++) {
		found[i] = 0;
		lengths[i] = strlen(names[i].name);
		initial[(uint8_t)names[i].name[0]] = true;
	}
	for (uint32_t at = 1; at < btf->strings_size && left;) {
		const char *s = btf->strings + at;
		const char *end = memchr(s, 0, btf->strings_size - at);

		if (initial[(uint8_t)s[0]]) {
			for (size_t i = 0; i < nr; i++) {
				if ((size_t)(end - s) == lengths[i] && !memcmp(s, names[i].name, lengths[i])) {
					found[i] = at;
					left--;
				}
			}
		}
		at = end - btf->strings + 1;
	}
}

static int index_types(struct btf *btf, struct btf_name *names, const uint32_t *strings, size_t nr)
{
	uint32_t room = btf->types_size / sizeof(struct type) + 2, id = 1;

	btf->at = malloc(room * sizeof(*btf->at));
	if (!btf->at)
		return -ENOMEM;
	for (uint32_t at = 0; at < btf->types_size; id++) {
		const struct type *type = (const void *)(btf->types + at);
		long tail;

		if (btf->types_size - at < sizeof(*type))
			return -EINVAL;
		tail = tail_bytes(kind_of(type), count_of(type));
		if (tail < 0 || tail > (long)(btf->types_size - at - sizeof(*type)))
			return -EINVAL;
		btf->at[id] = at;
		for (size_t i = 0; type->name && i < nr; i++)
			if (type->name == strings[i] && kind_of(type) == names[i].kind &&
			    !names[i].id && (count_of(type) || kind_of(type) == BTF_FUNC))
				names[i].id = id;
		at += sizeof(*type) + tail;
	}
	btf->nr = id;
	return 0;
}

int btf_init(struct btf *btf, uint8_t *data, size_t size, struct btf_name *names, size_t nr)
{
	const struct header *header = (const void *)data;
	uint32_t strings[MAX_NAMES];
	uint64_t end;
	int ret;

	*btf = (struct btf){.data = data, .size = size};
	if (nr > MAX_NAMES || size < sizeof(*header) || header->magic != MAGIC || header->length > size)
		goto bad;
	end = (uint64_t)header->length + header->string_offset + header->string_length;
	if (end > size || !header->string_length || header->type_offset % 4 || header->length % 4 ||
	    (uint64_t)header->length + header->type_offset + header->type_length > size)
		goto bad;
	btf->types = data + header->length + header->type_offset;
	btf->types_size = header->type_length;
	btf->strings = (const char *)data + header->length + header->string_offset;
	btf->strings_size = header->string_length;
	if (btf->strings[btf->strings_size - 1])
		goto bad;
	for (size_t i = 0; i < nr; i++)
		names[i].id = 0;
	find_strings(btf, names, nr, strings);
	ret = index_types(btf, names, strings, nr);
	if (ret)
		btf_deinit(btf);
	return ret;
bad:
	btf_deinit(btf);
	return -EINVAL;
}

void btf_deinit(struct btf *btf)
{
	free(btf->at);
	free(btf->data);
	*btf = (struct btf){};
}

static const struct type *type_of(const struct btf *btf, uint32_t id)
{
	return id && id < btf->nr ? (const void *)(btf->types + btf->at[id]) : NULL;
}

static const char *string_of(const struct btf *btf, uint32_t at)
{
	return at < btf->strings_size ? btf->strings + at : "";
}

// Through typedefs and qualifiers to what is meant.
static uint32_t resolve(const struct btf *btf, uint32_t id)
{
	for (int i = 0; i < MAX_NESTING; i++) {
		const struct type *type = type_of(btf, id);

		if (!type || kind_of(type) < 8 || kind_of(type) > 11)
			break;
		id = type->size_or_type;
	}
	return id;
}

static int member_at(const struct btf *btf, uint32_t id, const char *name, int depth)
{
	const struct type *type = type_of(btf, id);
	const struct member *members = (const void *)(type + 1);
	size_t length = strcspn(name, ".");

	if (!type || depth > MAX_NESTING ||
	    (kind_of(type) != BTF_STRUCT && kind_of(type) != KIND_UNION))
		return -1;
	for (uint32_t i = 0; i < count_of(type); i++) {
		const char *own = string_of(btf, members[i].name);
		uint32_t bits = members[i].offset;
		const char *rest = NULL;
		int inner;

		if (type->info >> 31)	// the upper byte is the width of a bit field
			bits &= 0xffffff;
		if (!*own)
			rest = name;
		else if (strncmp(own, name, length) || own[length])
			continue;
		else if (!name[length])
			return bits / 8;
		else
			rest = name + length + 1;
		inner = member_at(btf, resolve(btf, members[i].type), rest, depth + 1);
		if (inner >= 0)
			return bits / 8 + inner;
	}
	return -1;
}

int btf_member(const struct btf *btf, uint32_t id, const char *member)
{
	return member_at(btf, id, member, 0);
}

uint32_t btf_size(const struct btf *btf, uint32_t id)
{
	const struct type *type = type_of(btf, id);

	return type ? type->size_or_type : 0;
}

int btf_enumerator(const struct btf *btf, uint32_t id, const char *name)
{
	const struct type *type = type_of(btf, id);
	const uint32_t *pairs = (const void *)(type + 1);

	if (!type || kind_of(type) != BTF_ENUM)
		return -1;
	for (uint32_t i = 0; i < count_of(type); i++)
		if (!strcmp(string_of(btf, pairs[2 * i]), name))
			return pairs[2 * i + 1];
	return -1;
}

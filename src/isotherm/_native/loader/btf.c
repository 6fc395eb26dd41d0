// SPDX-License-Identifier: Apache-2.0
// Format: Documentation/bpf/btf.rst of the kernel.
#include "loader/btf.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0xeb9f
#define MAX_NESTING 8
#define MAX_NAMES 64
#define MAX_MEMBERS 1000000	// looked at for one btf_member(), which a damaged file may lead in circles
#define MAX_GUESSED 3
#define KINDS 128

enum { KIND_UNION = 5 };

struct header {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t length, type_offset, type_length, string_offset, string_length;
	uint32_t layout_offset, layout_length;	// if length says that they are there
};

/** What follows struct type: @fixed bytes, and @element for each that it counts. */
struct layout {
	uint8_t fixed, element;
	uint16_t unknown;	// flags, in a file
};

struct type {
	uint32_t name, info, size_or_type;
};

struct member {
	uint32_t name, type, offset;
};

// Kernels to come may use the bits between, which were zero so far.
static uint32_t kind_of(const struct type *type) { return type->info >> 24 & (KINDS - 1); }
static uint32_t count_of(const struct type *type) { return type->info & 0xffffff; }

static void known_layouts(struct layout *layouts)
{
	static const struct layout known[] = {
		[1] = {4, 0, 0},		// INT
		[3] = {12, 0, 0},		// ARRAY
		[BTF_STRUCT] = {0, 12, 0},
		[KIND_UNION] = {0, 12, 0},
		[BTF_ENUM] = {0, 8, 0},
		[13] = {0, 8, 0},		// FUNC_PROTO
		[14] = {4, 0, 0},		// VAR
		[15] = {0, 12, 0},		// DATASEC
		[17] = {4, 0, 0},		// DECL_TAG
		[19] = {0, 12, 0},		// ENUM64
	};
	const size_t nr = sizeof(known) / sizeof(known[0]);

	for (size_t kind = 0; kind < KINDS; kind++)
		layouts[kind] = kind && kind < nr ? known[kind] : (struct layout){.unknown = 1};
}

/** Of kinds that are not known here the file itself may tell. */
static void told_layouts(const struct btf *btf, struct layout *layouts)
{
	const struct header *header = (const void *)btf->data;
	const struct layout *told;
	uint64_t start;

	if (header->length < sizeof(*header))
		return;
	start = (uint64_t)header->length + header->layout_offset;
	if (start % 4 || start + header->layout_length > btf->size)
		return;
	told = (const void *)(btf->data + start);
	for (size_t kind = 1; kind < KINDS && kind < header->layout_length / sizeof(*told); kind++)
		if (layouts[kind].unknown)
			layouts[kind] = (struct layout){told[kind].fixed, told[kind].element, 0};
}

/** Bytes of the type at @at, 0 if they are not all there. */
static uint32_t type_bytes(const struct btf *btf, uint32_t at, const struct layout *layout)
{
	const struct type *type = (const void *)(btf->types + at);
	uint64_t bytes = sizeof(*type) + layout->fixed + (uint64_t)layout->element * count_of(type);

	return bytes <= btf->types_size - at ? bytes : 0;
}

static const struct type *type_at(const struct btf *btf, uint32_t at)
{
	return btf->types_size - at < sizeof(struct type) ? NULL : (const void *)(btf->types + at);
}

/**
 * Whether types follow each other with these layouts up to the end: each has a kind, and the name of
 * each is one. @guess: the first kind whose layout is not known; 0: there is none.
 */
static bool follow_each_other(const struct btf *btf, const struct layout *layouts, uint32_t *guess)
{
	*guess = 0;
	for (uint32_t at = 0, bytes; at < btf->types_size; at += bytes) {
		const struct type *type = type_at(btf, at);

		if (!type || !kind_of(type) || type->name >= btf->strings_size ||
		    (type->name && btf->strings[type->name - 1]))
			return false;
		if (layouts[kind_of(type)].unknown) {
			*guess = kind_of(type);
			return true;
		}
		bytes = type_bytes(btf, at, &layouts[kind_of(type)]);
		if (!bytes || bytes % 4)
			return false;
	}
	return true;
}

/**
 * A kind of a newer kernel is passed over. Its length is not known, but of the few that a kind can
 * have only the right one leads through thousands of types to the very end.
 */
static bool guess_layouts(const struct btf *btf, struct layout *layouts, int guessed)
{
	static const struct layout likely[] = {
		{0, 0, 0}, {4, 0, 0}, {0, 12, 0}, {0, 8, 0}, {0, 4, 0}, {8, 0, 0}, {12, 0, 0}, {0, 16, 0}};
	uint32_t kind;

	if (!follow_each_other(btf, layouts, &kind))
		return false;
	if (!kind)
		return true;
	for (size_t i = 0; guessed < MAX_GUESSED && i < sizeof(likely) / sizeof(likely[0]); i++) {
		layouts[kind] = likely[i];
		if (guess_layouts(btf, layouts, guessed + 1))
			return true;
	}
	layouts[kind].unknown = 1;
	return false;
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

static int index_types(struct btf *btf, const struct layout *layouts, struct btf_name *names,
		       const uint32_t *strings, size_t nr)
{
	uint32_t room = btf->types_size / sizeof(struct type) + 2, id = 1;

	free(btf->at);
	btf->at = malloc(room * sizeof(*btf->at));
	if (!btf->at)
		return -ENOMEM;
	for (uint32_t at = 0, bytes; at < btf->types_size; id++, at += bytes) {
		const struct type *type = type_at(btf, at);

		if (type && layouts[kind_of(type)].unknown)
			return -EOPNOTSUPP;
		bytes = type ? type_bytes(btf, at, &layouts[kind_of(type)]) : 0;
		if (!bytes || bytes % 4)
			return -EINVAL;
		btf->at[id] = at;
		for (size_t i = 0; type->name && i < nr; i++)
			if (type->name == strings[i] && kind_of(type) == names[i].kind &&
			    !names[i].id && (count_of(type) || kind_of(type) == BTF_FUNC))
				names[i].id = id;
	}
	btf->nr = id;
	return 0;
}

static void forget(struct btf_name *names, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		names[i].id = 0;
}

int btf_init(struct btf *btf, uint8_t *data, size_t size, struct btf_name *names, size_t nr)
{
	const struct header *header = (const void *)data;
	struct layout layouts[KINDS];
	uint32_t strings[MAX_NAMES];
	uint64_t end;
	int ret;

	*btf = (struct btf){.data = data, .size = size};
	if (nr > MAX_NAMES || size < offsetof(struct header, layout_offset) || header->magic != MAGIC || header->length > size)
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
	forget(names, nr);
	find_strings(btf, names, nr, strings);
	known_layouts(layouts);
	told_layouts(btf, layouts);
	ret = index_types(btf, layouts, names, strings, nr);
	if (ret == -EOPNOTSUPP && guess_layouts(btf, layouts, 0)) {
		forget(names, nr);
		ret = index_types(btf, layouts, names, strings, nr);
	}
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

static int member_at(const struct btf *btf, uint32_t id, const char *name, int depth, uint32_t *left)
{
	const struct type *type = type_of(btf, id);
	const struct member *members = (const void *)(type + 1);
	size_t length = strcspn(name, ".");

	if (!type || depth > MAX_NESTING ||
	    (kind_of(type) != BTF_STRUCT && kind_of(type) != KIND_UNION))
		return -1;
	for (uint32_t i = 0; i < count_of(type) && *left; i++) {
		const char *own = string_of(btf, members[i].name);
		uint32_t bits = members[i].offset;
		const char *rest = NULL;
		int inner;

		--*left;
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
		inner = member_at(btf, resolve(btf, members[i].type), rest, depth + 1, left);
		if (inner >= 0)
			return bits / 8 + inner;
	}
	return -1;
}

int btf_member(const struct btf *btf, uint32_t id, const char *member)
{
	uint32_t left = MAX_MEMBERS;

	return member_at(btf, id, member, 0, &left);
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

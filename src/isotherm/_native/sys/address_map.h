// SPDX-License-Identifier: Apache-2.0
// The address map of a process, /proc/PID/maps, in 20 bytes a mapping.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Mapping i is [bounds[2 * i], bounds[2 * i + 1]) and of a kind: what else its line tells, rights, device
 * and name, without offset and inode. A kind's text is "rw-p fd:01 /name"; thousands of mappings share a
 * few. A kind keeps its number for the life of the map.
 */
struct address_map {
	uint64_t *bounds;
	uint32_t *kinds;
	size_t nr;
	char *texts;		// of the kinds, one after the other
	size_t *text_ends;
	size_t nr_kinds, kinds_room, texts_room;
	uint32_t *slots;	// of a hash table: number of a kind + 1, or 0
	size_t nr_slots;
};

void address_map_deinit(struct address_map *map);
/**
 * Read the map of @tid; a zombie's is empty. @changed: whether it is another one than before. 0 or -errno;
 * -EILSEQ for a line that is none; what was known stays then.
 */
int address_map_read(struct address_map *map, int tid, bool *changed);
/** The same with a text for what would be read. */
int address_map_parse(struct address_map *map, const char *text, size_t size, bool *changed);
/** The text of kind @i, @size bytes. */
const char *address_map_kind(const struct address_map *map, size_t i, size_t *size);

/** No mapping of a kind with this word is wanted. */
#define MAPPING_LEFT_OUT UINT64_MAX
/**
 * Write start, end and the word of the kind of each of @nr mappings that is wanted to @out, 3 * @nr words;
 * how many mappings. Of a map that was read while it changed no address is told twice.
 */
size_t address_words(const uint64_t *bounds, const uint32_t *kinds, size_t nr, const uint64_t *words,
		     size_t nr_words, uint64_t *out);

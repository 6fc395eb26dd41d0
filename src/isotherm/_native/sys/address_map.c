// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "sys/address_map.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** More than a line has: a path of a page with all of it escaped. */
#define BUFFER_SIZE (1 << 16)
/** Sixteen times what the kernel allows by default. */
#define MOST_MAPPINGS (1 << 20)
#define FIRST_SLOTS 64

void address_map_deinit(struct address_map *map)
{
	free(map->bounds);
	free(map->kinds);
	free(map->texts);
	free(map->text_ends);
	free(map->slots);
	*map = (struct address_map){};
}

static int make_room(void **items, size_t *room, size_t wanted, size_t item_size)
{
	size_t more = *room ? *room : 64;
	void *larger;

	if (wanted <= *room)
		return 0;
	while (more < wanted)
		more *= 2;
	larger = realloc(*items, more * item_size);
	if (!larger)
		return -ENOMEM;
	*items = larger;
	*room = more;
	return 0;
}

const char *address_map_kind(const struct address_map *map, size_t i, size_t *size)
{
	size_t at = i ? map->text_ends[i - 1] : 0;

	*size = map->text_ends[i] - at;
	return map->texts + at;
}

static uint64_t hash_of(const char *text, size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);	// FNV-1a

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/** The slot of a kind, or the free one where it would be. */
static uint32_t *slot_of(const struct address_map *map, const char *text, size_t size)
{
	for (size_t i = hash_of(text, size);; i++) {
		uint32_t *slot = &map->slots[i % map->nr_slots];
		size_t known_size;
		const char *known;

		if (!*slot)
			return slot;
		known = address_map_kind(map, *slot - 1, &known_size);
		if (known_size == size && !memcmp(known, text, size))
			return slot;
	}
}

static int more_slots(struct address_map *map)
{
	size_t nr = map->nr_slots ? 4 * map->nr_slots : FIRST_SLOTS;
	uint32_t *slots = calloc(nr, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	free(map->slots);
	map->slots = slots;
	map->nr_slots = nr;
	for (size_t i = 0; i < map->nr_kinds; i++) {
		size_t size;
		const char *text = address_map_kind(map, i, &size);

		*slot_of(map, text, size) = (uint32_t)i + 1;
	}
	return 0;
}

static int add_kind(struct address_map *map, const char *text, size_t size)
{
	size_t used = map->nr_kinds ? map->text_ends[map->nr_kinds - 1] : 0;
	int err = make_room((void **)&map->texts, &map->texts_room, used + size, 1);

	if (!err)
		err = make_room((void **)&map->text_ends, &map->kinds_room, map->nr_kinds + 1, sizeof(*map->text_ends));
	if (err)
		return err;
	memcpy(map->texts + used, text, size);
	map->text_ends[map->nr_kinds++] = used + size;
	return 0;
}

/** The number of a kind, a new one if need be, or -errno. */
static int64_t kind_of(struct address_map *map, const char *text, size_t size)
{
	uint32_t *slot;
	int err;

	if (2 * map->nr_kinds >= map->nr_slots) {
		err = more_slots(map);
		if (err)
			return err;
	}
	slot = slot_of(map, text, size);
	if (!*slot) {
		err = add_kind(map, text, size);
		if (err)
			return err;
		*slot = (uint32_t)map->nr_kinds;
	}
	return *slot - 1;
}

/** Mappings as they are read; kind: room for the text of one. */
struct reading {
	uint64_t *bounds;
	uint32_t *kinds;
	size_t nr, bounds_room, kinds_room;
	char kind[BUFFER_SIZE];
};

static const char *hexadecimal(const char *at, const char *end, uint64_t *value)
{
	for (*value = 0; at < end; at++) {
		if (*at >= '0' && *at <= '9')
			*value = *value << 4 | (uint64_t)(*at - '0');
		else if (*at >= 'a' && *at <= 'f')
			*value = *value << 4 | (uint64_t)(*at - 'a' + 10);
		else
			break;
	}
	return at;
}

static const char *behind(const char *at, const char *end, char c)
{
	const char *found = at < end ? memchr(at, c, end - at) : NULL;

	return found ? found + 1 : end;
}

/** A line without its newline: start-end rights offset device inode, and the name behind padding. */
static int take_line(struct address_map *map, struct reading *reading, const char *at, const char *end)
{
	const char *rights, *device, *name;
	uint64_t from, to;
	size_t size, name_size;
	int64_t kind;
	int err;

	at = hexadecimal(at, end, &from);
	if (at == end || *at != '-')
		return -EILSEQ;
	at = hexadecimal(at + 1, end, &to);
	if (end - at < 6 || at[0] != ' ' || at[5] != ' ' || from >= to)
		return -EILSEQ;
	rights = at + 1;
	device = behind(at + 6, end, ' ');
	at = behind(device, end, ' ');
	if (device == end || at == end)
		return -EILSEQ;
	name = behind(at, end, ' ');
	// "rw-p fd:01 ", then the name
	memcpy(reading->kind, rights, 5);
	memcpy(reading->kind + 5, device, at - device);
	size = 5 + (size_t)(at - device);
	while (name < end && *name == ' ')
		name++;
	name_size = (size_t)(end - name);
	memcpy(reading->kind + size, name, name_size);
	kind = kind_of(map, reading->kind, size + name_size);
	if (kind < 0)
		return (int)kind;
	if (reading->nr >= MOST_MAPPINGS)
		return -E2BIG;
	err = make_room((void **)&reading->bounds, &reading->bounds_room, 2 * reading->nr + 2, sizeof(from));
	if (!err)
		err = make_room((void **)&reading->kinds, &reading->kinds_room, reading->nr + 1, sizeof(uint32_t));
	if (err)
		return err;
	reading->bounds[2 * reading->nr] = from;
	reading->bounds[2 * reading->nr + 1] = to;
	reading->kinds[reading->nr++] = (uint32_t)kind;
	return 0;
}

/** Take whole lines; @size becomes what they had. */
static int take_lines(struct address_map *map, struct reading *reading, const char *text, size_t *size)
{
	const char *at = text, *end = text + *size;
	int err = 0;

	while (!err && at < end) {
		const char *newline = memchr(at, '\n', end - at);

		if (!newline)
			break;
		err = take_line(map, reading, at, newline);
		at = newline + 1;
	}
	*size = at - text;
	return err;
}

/** Give back the room that @nr items do not need: there may be thousands of maps. */
static void shrink(void **items, size_t *room, size_t nr, size_t item_size)
{
	void *smaller = nr && nr < *room ? realloc(*items, nr * item_size) : NULL;

	if (smaller) {
		*items = smaller;
		*room = nr;
	}
}

/** Put what was read in the place of what was known, if that is something else. */
static void conclude(struct address_map *map, struct reading *reading, bool *changed)
{
	size_t nr = reading->nr;

	*changed = nr != map->nr || (nr && (memcmp(reading->bounds, map->bounds, nr * 2 * sizeof(*map->bounds)) ||
					    memcmp(reading->kinds, map->kinds, nr * sizeof(*map->kinds))));
	if (!*changed)
		return;
	free(map->bounds);
	free(map->kinds);
	shrink((void **)&reading->bounds, &reading->bounds_room, 2 * nr, sizeof(*map->bounds));
	shrink((void **)&reading->kinds, &reading->kinds_room, nr, sizeof(*map->kinds));
	if (map->nr_kinds) {
		shrink((void **)&map->texts, &map->texts_room, map->text_ends[map->nr_kinds - 1], 1);
		shrink((void **)&map->text_ends, &map->kinds_room, map->nr_kinds, sizeof(*map->text_ends));
	}
	map->bounds = reading->bounds;
	map->kinds = reading->kinds;
	map->nr = nr;
	reading->bounds = NULL;
	reading->kinds = NULL;
}

static struct reading *reading_new(const struct address_map *map)
{
	struct reading *reading = calloc(1, sizeof(*reading));

	// As many as the last time: no copies while it grows.
	if (reading && (make_room((void **)&reading->bounds, &reading->bounds_room, 2 * map->nr, sizeof(uint64_t)) ||
			make_room((void **)&reading->kinds, &reading->kinds_room, map->nr, sizeof(uint32_t)))) {
		free(reading->bounds);
		free(reading);
		return NULL;
	}
	return reading;
}

static void reading_free(struct reading *reading)
{
	free(reading->bounds);
	free(reading->kinds);
	free(reading);
}

int address_map_parse(struct address_map *map, const char *text, size_t size, bool *changed)
{
	struct reading *reading = reading_new(map);
	int err = reading ? 0 : -ENOMEM;

	for (size_t at = 0; !err && at < size;) {
		size_t part = size - at < BUFFER_SIZE ? size - at : BUFFER_SIZE;

		err = take_lines(map, reading, text + at, &part);
		if (!err && !part)
			err = -EILSEQ;
		at += part;
	}
	if (!err)
		conclude(map, reading, changed);
	if (reading)
		reading_free(reading);
	return err;
}

/** The kernel gives a page of whole lines at a time. */
static int read_lines(struct address_map *map, struct reading *reading, int fd)
{
	char *buffer = malloc(BUFFER_SIZE);
	size_t filled = 0;
	int err = buffer ? 0 : -ENOMEM;

	while (!err) {
		ssize_t got = read(fd, buffer + filled, BUFFER_SIZE - filled);
		size_t taken;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			err = got < 0 ? -errno : 0;
			break;
		}
		taken = filled += (size_t)got;
		err = take_lines(map, reading, buffer, &taken);
		filled -= taken;
		memmove(buffer, buffer + taken, filled);
		if (filled == BUFFER_SIZE)
			err = -EILSEQ;
	}
	free(buffer);
	return err;
}

int address_map_read(struct address_map *map, int tid, bool *changed)
{
	struct reading *reading;
	char path[32];
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/maps", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	reading = reading_new(map);
	err = reading ? read_lines(map, reading, fd) : -ENOMEM;
	close(fd);
	if (!err)
		conclude(map, reading, changed);
	if (reading)
		reading_free(reading);
	return err;
}

size_t address_words(const uint64_t *bounds, const uint32_t *kinds, size_t nr, const uint64_t *words,
		     size_t nr_words, uint64_t *out)
{
	uint64_t at = 0;
	size_t written = 0;

	for (size_t i = 0; i < nr; i++) {
		uint64_t start = bounds[2 * i], end = bounds[2 * i + 1];
		uint64_t word = kinds[i] < nr_words ? words[kinds[i]] : MAPPING_LEFT_OUT;

		if (word == MAPPING_LEFT_OUT || start < at || start >= end)
			continue;
		out[3 * written] = start;
		out[3 * written + 1] = end;
		out[3 * written + 2] = word;
		written++;
		at = end;
	}
	return written;
}

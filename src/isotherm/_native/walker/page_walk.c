// SPDX-License-Identifier: Apache-2.0
#include "walker/page_table.h"
#include <string.h>

#define IMAGE_BASE (1ull << 40)	// where the image pretends to be mapped

static _Thread_local struct page_image *current;

static uint64_t image_word(uint64_t address)
{
	const uint8_t *memory = current->reads++ < current->turn ? current->before : current->after;
	uint64_t at = address - IMAGE_BASE, word = 0;

	if (at < current->size && current->size - at >= sizeof(word))
		memcpy(&word, memory + at, sizeof(word));
	return word;
}

#define WALK_READ(address) image_word(address)
#include "bpf/walk_core.h"

struct page_found page_walk(const struct page_format *format, struct page_image *image,
			    uint64_t root, uint64_t addr)
{
	struct walk_format parameters = walk_format(format, IMAGE_BASE, image->size);
	struct walk_leaf leaf;

	current = image;
	image->reads = 0;
	leaf = walk_leaf(&parameters, IMAGE_BASE + root, addr);
	return (struct page_found){leaf.entry, leaf.meta};
}

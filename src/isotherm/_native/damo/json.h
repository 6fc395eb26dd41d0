// SPDX-License-Identifier: Apache-2.0
// Reads damo's records as they come, a piece at a time: a list of records, each with snapshots of
// regions. What a record says beside that is handed on as text, and so much of a snapshot as matters
// is read; all else is passed over. Memory is that of one snapshot, whatever the input.
#pragma once
#include "damo/columns.h"

#define DAMO_MAX_VALUE (1u << 20)	// the longest value but for lists of snapshots and regions, in bytes

enum damo_event {
	DAMO_MORE,	// what comes next is not there yet
	DAMO_MEMBER,	// key and value of a record
	DAMO_SNAPSHOT,	// a whole snapshot
	DAMO_RECORD,	// a record ended
	DAMO_END,	// the document ended
	DAMO_BAD,	// it makes no sense; nothing more comes
};

enum damo_level { DOCUMENT, RECORDS, RECORD, SNAPSHOTS, SNAPSHOT, REGIONS, AFTER };

struct damo_text {
	const char *at;
	size_t length;
};

#define DAMO_MAX_SHAPE 1024u
enum damo_field { DAMO_START, DAMO_END_FIELD, DAMO_SAMPLES, DAMO_WINDOWS, DAMO_NR_FIELDS };

/**
 * The text of the region before. Writers write all regions alike: what differs from it in nothing but
 * the digits of its four numbers need not be taken apart.
 */
struct damo_shape {
	char text[DAMO_MAX_SHAPE];
	uint32_t length;	// 0: there is none
	unsigned int nr;
	struct {
		enum damo_field field;
		uint32_t at, end;	// of its digits
	} numbers[DAMO_NR_FIELDS];
};

struct damo_json {
	char *buffer;
	size_t at, length, room;
	uint64_t passed;	// bytes before the buffer
	enum damo_level level;
	bool had, comma;	// something stands before in this list, and a comma behind it
	const char *why;	// bad: a text for people
	struct damo_text key, value;	// of a member, as JSON without quotes: until the next feed
	uint64_t start_ns, end_ns, sample_us;	// of a snapshot; 0 without one
	bool has_end;
	struct damo_columns columns;
	struct damo_shape shape;
};

/** Add bytes to what is read; 0, or -ENOMEM. */
int damo_json_feed(struct damo_json *json, const char *data, size_t length);
/** Go on to the next event. */
enum damo_event damo_json_next(struct damo_json *json);
/** Give the memory back. */
void damo_json_free(struct damo_json *json);

// SPDX-License-Identifier: Apache-2.0
// A core.profile.Profile as struct region_rules.
#include "py/bind_util.h"
#include <stddef.h>
#include "py/bind_core.h"

#define RULE(name) {#name, offsetof(struct region_rules, name)}

int parse_rules(PyObject *profile, struct region_rules *rules)
{
	static const struct {
		const char *name;
		size_t offset;
	} known[] = {
		RULE(stores_moving_sum),
		RULE(age_resets_at_zero),
		RULE(enforces_min_regions),
		RULE(splits_above_half),
		RULE(notes_every_count),
		RULE(samples_whole_regions),
	};

	*rules = (struct region_rules){false, true, true, true, true, true};
	for (size_t i = 0; profile && i < sizeof(known) / sizeof(*known); i++) {
		PyObject *value = PyObject_GetAttrString(profile, known[i].name);
		int holds = value ? PyObject_IsTrue(value) : -1;

		Py_XDECREF(value);
		if (holds < 0)
			return -1;
		*(bool *)((char *)rules + known[i].offset) = holds;
	}
	return 0;
}

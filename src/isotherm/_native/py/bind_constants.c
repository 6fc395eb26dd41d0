// SPDX-License-Identifier: Apache-2.0
// Numbers that both sides need: what is written in a header here is not written again in Python.
#include "py/bind_util.h"
#include <stddef.h>
#include "access/access.h"
#include "access/target_memory.h"
#include "map/page_map.h"
#include "py/bind.h"
#include "survey/survey.h"
#include "sys/address_map.h"
#include "sys/coalesce.h"
#include "sys/failure.h"
#include "sys/page.h"
#include "sys/page_idle.h"
#include "walker/walker.h"
#include "workload/workload.h"

#define NUMBER(name) {#name, name}
#define WORD(name, type, member) {name, offsetof(type, member) / sizeof(uint64_t)}

static const struct {
	const char *name;
	long value;
} numbers[] = {
	NUMBER(PAGE),
	NUMBER(CHECK_IDLE), NUMBER(CHECK_ACCESSED), NUMBER(CHECK_MISSED), NUMBER(CHECK_UNOBSERVABLE),
	NUMBER(CHECK_WAS_YOUNG), NUMBER(CHECK_RESTING),
	NUMBER(MAPPING_SWEEPABLE), NUMBER(AREA_VISIBLE), NUMBER(AREA_HIDDEN),
	NUMBER(MAP_PIECE_NONE), NUMBER(MAP_PIECE_ASKED), NUMBER(MAP_PIECE_READY), NUMBER(MAP_PIECE_BEGUN),
	NUMBER(MAP_PIECE_ENDED),
	NUMBER(FAIL_OTHER), NUMBER(FAIL_PRIVILEGE), NUMBER(FAIL_LOCKDOWN), NUMBER(FAIL_NAMESPACE),
	NUMBER(FAIL_TYPES), NUMBER(FAIL_SELF_TEST),
	NUMBER(LEAF_NONE), NUMBER(LEAF_PRESENT), NUMBER(LEAF_SWAPPED), NUMBER(LEAF_UNREAD),
	NUMBER(FOLIO_KNOWN), NUMBER(FOLIO_SHARED), NUMBER(FOLIO_PARTIAL), NUMBER(FOLIO_LRU),
	NUMBER(FOLIO_MLOCKED), NUMBER(FOLIO_ANON),
	NUMBER(WALKER_ALIVE), NUMBER(WALKER_GONE), NUMBER(WALKER_EXECED), NUMBER(WALKER_REUSED),
	NUMBER(PAGE_PRESENT), NUMBER(PAGE_SWAPPED), NUMBER(PAGE_YOUNG), NUMBER(PAGE_ANON),
	NUMBER(PAGE_SHARED), NUMBER(PAGE_HUGE), NUMBER(PAGE_ACTIVE), NUMBER(PAGE_REFERENCED),
	NUMBER(PAGE_LOCKED), NUMBER(PAGE_ZERO), NUMBER(PAGE_SPECIAL), NUMBER(PAGE_JOINED),
	NUMBER(PAGE_TORN), NUMBER(PAGE_DIRTY), NUMBER(PAGE_USED), NUMBER(PAGE_EARLY),
	NUMBER(SURVEY_ENTRIES), NUMBER(SURVEY_FOLIOS), NUMBER(SURVEY_CGROUPS),
	NUMBER(TEST_FACT), NUMBER(TEST_SIZE), NUMBER(TEST_CGROUP), NUMBER(TEST_ABSENT),
	NUMBER(TEST_UNDERUSED),
	{"RUN_BYTES", sizeof(struct survey_run)},
	WORD("CONTROL_STOP", struct touch_control, stop),
	WORD("CONTROL_OPS", struct touch_control, ops),
	WORD("CONTROL_PASSES", struct touch_control, passes),
	WORD("CONTROL_OVERRUNS", struct touch_control, overruns),
};

int bind_constants(PyObject *module)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (PyModule_AddIntConstant(module, numbers[i].name, numbers[i].value) < 0)
			return -1;
	PyObject *left_out = PyLong_FromUnsignedLongLong(MAPPING_LEFT_OUT);

	if (!left_out || PyModule_AddObject(module, "MAPPING_LEFT_OUT", left_out) < 0) {
		Py_XDECREF(left_out);
		return -1;
	}
	return PyModule_AddStringConstant(module, "PAGE_IDLE_BITMAP", PAGE_IDLE_BITMAP);
}

// SPDX-License-Identifier: Apache-2.0
// Module isotherm._core. Python.h is included in this folder only: each bind_*.c binds one part and
// holds argument parsing and nothing else.
#include "py/bind_util.h"
#include "py/bind.h"

static int module_exec(PyObject *module)
{
	static int (*const parts[])(PyObject *) = {
		bind_constants,
		bind_failure,
		bind_access,
		bind_map,
		bind_maps,
		bind_known,
		bind_workload,
		bind_formats,
		bind_walker,
		bind_rng,
		bind_regions,
		bind_sampler,
		bind_survey,
		bind_sentinels,
		bind_damo,
		bind_scan,
		bind_sim,
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i](module) < 0)
			return -1;
	return 0;
}

static PyModuleDef_Slot slots[] = {
	{Py_mod_exec, module_exec},
	{0, NULL},
};
static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "isotherm._core",
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void)
{
	return PyModuleDef_Init(&module);
}

// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include "sys/gate.h"

void gate_init(struct gate *gate)
{
	pthread_mutexattr_t kind;

	pthread_mutexattr_init(&kind);
	pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&gate->mutex, &kind);
	pthread_mutexattr_destroy(&kind);
	gate->closed = false;
}

void gate_deinit(struct gate *gate)
{
	pthread_mutex_destroy(&gate->mutex);
}

int gate_enter(struct gate *gate, bool wait)
{
	int err = wait ? pthread_mutex_lock(&gate->mutex) : pthread_mutex_trylock(&gate->mutex);

	if (err)
		return -err;
	if (!gate->closed)
		return 0;
	pthread_mutex_unlock(&gate->mutex);
	return -ESHUTDOWN;
}

void gate_leave(struct gate *gate)
{
	pthread_mutex_unlock(&gate->mutex);
}

bool gate_close(struct gate *gate)
{
	bool first = !gate->closed;

	gate->closed = true;
	return first;
}

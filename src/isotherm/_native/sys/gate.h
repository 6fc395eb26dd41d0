// SPDX-License-Identifier: Apache-2.0
// Lets one thread at a time into an object, and nobody into a closed one.
#pragma once
#include <pthread.h>
#include <stdbool.h>

struct gate {
	pthread_mutex_t mutex;
	bool closed;
};

void gate_init(struct gate *gate);
void gate_deinit(struct gate *gate);
/**
 * Come in; wait for whoever is inside if @wait. 0; -ESHUTDOWN: closed; -EBUSY: another thread is
 * inside, only without @wait; -EDEADLK: this thread is inside already.
 */
int gate_enter(struct gate *gate, bool wait);
void gate_leave(struct gate *gate);
/** From inside: nobody else will come in. False if it was closed before. */
bool gate_close(struct gate *gate);

// SPDX-License-Identifier: Apache-2.0
// The bulk face of the access check of the backend "bpf", for maps of pages.
#pragma once
#include "access/access_bpf.h"
#include "map/bulk.h"

/** As struct bulk_ops tells; valid as long as @access is, and called from inside its walker's gate. */
struct bulk_ops access_bulk_ops(struct access_bpf *access);

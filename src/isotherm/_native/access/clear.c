// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include "sys/advise.h"
#include "access/clear.h"

int clear_cold(int pidfd, const struct iovec *ranges, size_t nr, uint8_t *outcomes)
{
	int err = advise_ranges(pidfd, MADV_COLD, 0, ranges, nr, outcomes);

	for (size_t i = 0; i < nr && !err; i++)
		outcomes[i] = !outcomes[i] ? CLEAR_DONE
			    : outcomes[i] == EINVAL ? CLEAR_REFUSED : CLEAR_HOLE;
	return err;
}

// SPDX-License-Identifier: Apache-2.0
// Why something cannot be opened: a code for programs, a text for people.
#pragma once

enum failure_code {
	FAIL_OTHER,	// what the kernel said
	FAIL_PRIVILEGE,	// not allowed to us
	FAIL_LOCKDOWN,	// not allowed to anybody
	FAIL_NAMESPACE,	// process numbers here are not the host's
	FAIL_TYPES,	// the kernel's type information is missing or not as needed
	FAIL_SELF_TEST,	// it opens, but does not do what it is there for
};

struct failure {
	enum failure_code code;
	int err;	// errno
	char text[512];
};

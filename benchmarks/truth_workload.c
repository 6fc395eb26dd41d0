// SPDX-License-Identifier: Apache-2.0
/*
 * Programs that write down what they use: of each page the moment of its last access.
 *
 * truth_workload PATTERN NBYTES PERIOD_MS FD [MORE]: FD is a page of shared memory for counters,
 * PERIOD_MS the time from one sweep of the used pages to the next; 0 is as fast as it goes; MORE the
 * file of the pattern file, and of moving the ms between two moves. Says a
 * line per area, "area PID BASE PAGES UNIT WHEN", then "ready". WHEN is the address of an array of
 * 32-bit numbers, one for each UNIT bytes: CLOCK_MONOTONIC in ms of the last access, 0 for never
 * since the area was filled.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, HUGE = 2 << 20, THREADS = 64, STACK = 256 << 10, CHILDREN = 4 };
enum { PARTS = 10 };

struct counters { /* read by who started us */
	_Atomic uint64_t ops;
	_Atomic uint64_t longest_fault_ns; /* since it was last set to 0 */
	_Atomic uint64_t step;             /* set by others: the next thing to do */
};

struct area {
	char *base;
	size_t units, unit;
	volatile uint32_t *when;
};

static struct counters *counters;
static uint64_t period_ms;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t now_ms(void) { return (uint32_t)(now_ns() / 1000000); }

static void *map(size_t nbytes, int flags, int fd)
{
	void *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static void *anonymous(size_t nbytes, int shared)
{
	return map(nbytes, MAP_ANONYMOUS | MAP_NORESERVE | (shared ? MAP_SHARED : MAP_PRIVATE), -1);
}

/* Say where it is; `shared`: forked processes write down into one array. */
static struct area area_at(char *base, size_t nbytes, size_t unit, int shared)
{
	size_t units = nbytes / unit, log = (units * 4 + PAGE - 1) / PAGE * PAGE;
	struct area a = { base, units, unit, anonymous(log, shared) };
	memset((void *)a.when, 0, log);
	printf("area %d %zu %zu %zu %zu\n", getpid(), (size_t)base, units, unit, (size_t)a.when);
	fflush(stdout);
	return a;
}

/* Anonymous memory, every page of it written. */
static struct area filled(size_t nbytes, size_t unit, int shared_log)
{
	char *raw = anonymous(nbytes + HUGE, 0);
	char *base = (char *)(((uintptr_t)raw + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	madvise(base, nbytes, unit == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (size_t at = 0; at < nbytes; at += PAGE)
		base[at] = (char)(at >> 12) | 1;
	return area_at(base, nbytes, unit, shared_log);
}

static inline void touch(const struct area *a, size_t i, uint32_t ms)
{
	*(volatile char *)(a->base + i * a->unit);
	a->when[i] = ms;
}

static void sweep(const struct area *a, size_t first, size_t nr, size_t step)
{
	uint32_t ms = now_ms();
	for (size_t i = 0; i < nr; i++) {
		if (i % 256 == 255)
			ms = now_ms();
		touch(a, first + i * step, ms);
	}
	counters->ops += nr;
}

static void rest(uint64_t begun_ns)
{
	uint64_t due = begun_ns + period_ms * 1000000, now = now_ns();
	if (period_ms && now < due)
		usleep((useconds_t)((due - now) / 1000));
}

static void ready(void)
{
	printf("ready\n");
	fflush(stdout);
}

static void loop(const struct area *a, size_t first, size_t nr, size_t step)
{
	for (;;) {
		uint64_t begun = now_ns();
		sweep(a, first, nr, step);
		rest(begun);
	}
}

static void moving(const struct area *a, uint64_t move_ms)
{
	size_t part = a->units / PARTS;
	uint64_t began = now_ns();
	for (;;) {
		uint64_t begun = now_ns();
		size_t which = (begun - began) / 1000000 / move_ms % PARTS;
		sweep(a, which * part, part, 1);
		rest(begun);
	}
}

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

/* One page in `one_in`, by lot, in order of address. */
static void sparse(const struct area *a, unsigned one_in)
{
	size_t nr = 0;
	uint32_t *chosen = malloc((a->units / one_in * 2 + 64) * sizeof(*chosen));
	for (size_t i = 0; i < a->units && nr < a->units / one_in * 2; i++)
		if (next_random() % one_in == 0)
			chosen[nr++] = (uint32_t)i;
	ready();
	for (;;) {
		uint64_t begun = now_ns();
		uint32_t ms = now_ms();
		for (size_t i = 0; i < nr; i++) {
			if (i % 256 == 255)
				ms = now_ms();
			touch(a, chosen[i], ms);
		}
		counters->ops += nr;
		rest(begun);
	}
}

/* Draws by rank^-0.8 over pages in random order; 200 a period. */
static void zipf(const struct area *a)
{
	size_t n = a->units;
	double *upto = malloc(n * sizeof(*upto)), sum = 0;
	uint32_t *page = malloc(n * sizeof(*page));
	for (size_t i = 0; i < n; i++) {
		upto[i] = sum += pow((double)(i + 1), -0.8);
		page[i] = (uint32_t)i;
	}
	for (size_t i = n - 1; i; i--) {
		size_t j = next_random() % (i + 1);
		uint32_t held = page[i];
		page[i] = page[j];
		page[j] = held;
	}
	ready();
	for (;;) {
		uint64_t begun = now_ns();
		uint32_t ms = now_ms();
		for (int k = 0; k < 200; k++) {
			double x = (double)(next_random() >> 11) / 9007199254740992.0 * sum;
			size_t low = 0, high = n - 1;
			while (low < high) {
				size_t middle = (low + high) / 2;
				if (upto[middle] < x)
					low = middle + 1;
				else
					high = middle;
			}
			touch(a, page[low], ms);
		}
		counters->ops += 200;
		rest(begun);
	}
}

static pthread_barrier_t barrier;

static void *stack_user(void *unused)
{
	char mine[STACK + PAGE];
	char *base = (char *)(((uintptr_t)mine + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	for (size_t at = 0; at < STACK; at += PAGE)
		((volatile char *)base)[at] = 1;
	pthread_mutex_lock(&lock);
	struct area a = area_at(base, STACK, PAGE, 0);
	pthread_mutex_unlock(&lock);
	pthread_barrier_wait(&barrier);
	(void)unused;
	loop(&a, 0, a.units, 1);
	return NULL;
}

static void stacks(void)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 8 << 20);
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, &attr, stack_user, NULL))
			exit(1);
	}
	pthread_barrier_wait(&barrier);
	ready();
	for (;;)
		pause();
}

/*
 * Of 152 parts: 120 are made before the fork, of which each child uses 8, overlapping its
 * neighbour's by half, and 8 of its own, of which it uses 5: 20 + 20 parts.
 */
static void prefork(size_t nbytes)
{
	size_t part = nbytes / 152 / PAGE;
	struct area common = filled(120 * part * PAGE, PAGE, 1);
	int done[2];
	if (pipe(done))
		exit(1);
	for (size_t k = 0; k < CHILDREN; k++) {
		if (fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct area own = filled(8 * part * PAGE, PAGE, 0);
		if (write(done[1], "x", 1) != 1)
			exit(1);
		for (;;) {
			uint64_t begun = now_ns();
			sweep(&common, 4 * k * part, 8 * part, 1);
			sweep(&own, 0, 5 * part, 1);
			rest(begun);
		}
	}
	char said[CHILDREN];
	for (size_t got = 0; got < CHILDREN;) {
		ssize_t more = read(done[0], said, CHILDREN - got);
		if (more <= 0)
			exit(1);
		got += (size_t)more;
	}
	ready();
	for (;;)
		pause();
}

static void file(size_t nbytes, const char *path)
{
	int fd = open(path, O_RDWR);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	struct area a = area_at(map(nbytes, MAP_SHARED, fd), nbytes, PAGE, 0);
	volatile char sum = 0;
	for (size_t at = 0; at < nbytes; at += PAGE)
		sum += a.base[at];
	ready();
	loop(&a, a.units / 2, a.units / 4, 1);
}

/* Half of it may not be touched by anybody; of the other half all is used. */
static void forbidden(size_t nbytes)
{
	struct area a = filled(nbytes, PAGE, 0);
	mprotect(a.base, nbytes / 2, PROT_NONE);
	ready();
	loop(&a, a.units / 2, a.units / 2, 1);
}

/* All of two areas is used; at step 1 the second is unmapped. */
static void ending(size_t nbytes)
{
	struct area stays = filled(nbytes / 2, PAGE, 0), ends = filled(nbytes / 2, PAGE, 0);
	ready();
	for (int gone = 0;;) {
		uint64_t begun = now_ns();
		if (!gone && counters->step) {
			munmap(ends.base, nbytes / 2);
			gone = 1;
		}
		sweep(&stays, 0, stays.units, 1);
		if (!gone)
			sweep(&ends, 0, ends.units, 1);
		rest(begun);
	}
}

/* An eighth is used all the time; at each step another one, once. `shared`: memory that others could map. */
static void once(size_t nbytes, int shared)
{
	char *base = anonymous(nbytes, shared);
	madvise(base, nbytes, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < nbytes; at += PAGE)
		base[at] = 1;
	struct area a = area_at(base, nbytes, PAGE, 0);
	size_t part = a.units / 8;
	ready();
	for (uint64_t done = 0;;) {
		uint64_t begun = now_ns();
		if (counters->step > done) {
			done++;
			sweep(&a, (1 + (done - 1) % 7) * part, part, 1);
		}
		sweep(&a, 0, part, 1);
		rest(begun);
	}
}

/* Half stays and is not used; the other half is used and given back each period, and is in memory for a tenth of it. */
static void churn(size_t nbytes)
{
	struct area stays = filled(nbytes / 2, PAGE, 0), goes = filled(nbytes / 2, PAGE, 0);
	(void)stays;
	ready();
	for (;;) {
		uint64_t begun = now_ns();
		for (size_t i = 0; i < goes.units; i++)
			goes.base[i * PAGE] = 1;
		sweep(&goes, 0, goes.units, 1);
		usleep((useconds_t)(period_ms * 100));
		madvise(goes.base, nbytes / 2, MADV_DONTNEED);
		rest(begun);
	}
}

/* Faults pages all the time, and times each. */
static void faults(size_t nbytes)
{
	ready();
	for (;;) {
		char *p = anonymous(nbytes, 0);
		madvise(p, nbytes, MADV_NOHUGEPAGE);
		for (size_t at = 0; at < nbytes; at += PAGE) {
			uint64_t begun = now_ns();
			((volatile char *)p)[at] = 1;
			uint64_t took = now_ns() - begun;
			if (took > counters->longest_fault_ns)
				counters->longest_fault_ns = took;
			counters->ops++;
		}
		munmap(p, nbytes);
	}
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	const char *pattern = argv[1];
	size_t nbytes = strtoull(argv[2], NULL, 10) / PAGE * PAGE;
	period_ms = strtoull(argv[3], NULL, 10);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	counters = map(PAGE, MAP_SHARED, atoi(argv[4]));
	if (!strcmp(pattern, "stacks"))
		stacks();
	if (!strcmp(pattern, "prefork"))
		prefork(nbytes);
	if (!strcmp(pattern, "file") && argc > 5)
		file(nbytes, argv[5]);
	if (!strcmp(pattern, "forbidden"))
		forbidden(nbytes);
	if (!strcmp(pattern, "ending"))
		ending(nbytes);
	if (!strcmp(pattern, "once") || !strcmp(pattern, "once-shared"))
		once(nbytes, !strcmp(pattern, "once-shared"));
	if (!strcmp(pattern, "churn"))
		churn(nbytes);
	if (!strcmp(pattern, "faults"))
		faults(nbytes);
	struct area a = filled(nbytes, strcmp(pattern, "huge") ? PAGE : HUGE, 0);
	if (!strcmp(pattern, "sparse"))
		sparse(&a, 20);
	if (!strcmp(pattern, "zipf"))
		zipf(&a);
	ready();
	if (!strcmp(pattern, "moving"))
		moving(&a, argc > 5 ? strtoull(argv[5], NULL, 10) : 10000);
	if (!strcmp(pattern, "eighth"))
		loop(&a, 0, a.units / 8, 8);
	if (!strcmp(pattern, "half") || !strcmp(pattern, "huge"))
		loop(&a, 0, a.units / 2, 1);
	return 2;
}

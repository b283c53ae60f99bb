// SPDX-License-Identifier: Apache-2.0
// kill -9 of a writing process at random moments: every write that it acknowledged over a pipe is in the store and in
// its history afterwards. ROUNDS (12) rounds; SEED repeats a run.
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../rounds.h"
#include "support.h"

#define KEYS    40
#define WRITERS 16
#define ROUNDS  12 // or as many as the environment says

struct ack { // what the child says: small enough for an atomic write to a pipe
	uint64_t rv;
	uint32_t verb, key, text;
};

// ---- the child

static struct {
	struct bed *b;
	unsigned seed, texts;
	int pipe;
} child;

struct job {
	struct ack ack;
};

static void child_write(void);

static void on_written(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct job *j = arg;
	if (rc < 0)
		_exit(3);
	struct ack ack = j->ack;
	ack.rv = obj->rv;
	if (write(child.pipe, &ack, sizeof(ack)) != sizeof(ack))
		_exit(4);
	free(j);
	child_write();
}

static void child_write(void)
{
	struct bed *b = child.b;
	struct job *j = FL_NEW(struct job);
	char name[16], text[32];
	j->ack.key = (uint32_t)rand_r(&child.seed) % KEYS;
	j->ack.text = ++child.texts;
	snprintf(name, sizeof(name), "o-%02u", j->ack.key);
	snprintf(text, sizeof(text), "v%u", j->ack.text);
	AUTO(fl_object_put) struct fl_object *head = fl_store_head(b->s, b->things, "ns", name);
	j->ack.verb = !head ? FL_STORE_CREATE : rand_r(&child.seed) % 4 ? FL_STORE_UPDATE : FL_STORE_DELETE;
	if (submit(b, j->ack.verb, b->things, "ns", name, text, 0, on_written, j) < 0)
		_exit(5);
}

static void child_main(struct bed *b, int fd, unsigned seed)
{
	struct fl_err err;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	child.b = b;
	child.pipe = fd;
	child.seed = seed;
	uv_loop_t loop;
	if (uv_loop_init(&loop) < 0 || fl_store_open(&loop, &b->opts, &b->s, &err) < 0)
		_exit(2);
	for (int i = 0; i < WRITERS; i++)
		child_write();
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(6);
}

// ---- the parent

struct check {
	const struct ack *acks;
	size_t n, seen, next; // acks[next] is the next acknowledged one
	uint64_t last;
};

static void on_event(void *arg, struct fl_store_event *e)
{
	struct check *c = arg;
	assert_int_equal(e->rv, c->last + 1);
	c->last = e->rv;
	c->seen++;
	if (c->next == c->n)
		return; // durable, but killed before it could say so
	const struct ack *a = &c->acks[c->next++];
	char want[64];
	assert_int_equal(a->rv, e->rv);
	assert_int_equal(a->verb, (uint32_t)e->type);
	snprintf(want, sizeof(want), "ns/o-%02u=v%u@%d", a->key, a->text, (int)a->rv);
	AUTO(fl_buf_deinit) struct fl_buf got = {0};
	show_object(&got, e->obj);
	assert_string_equal(got.data, want);
}

// Every acknowledged write of the round, from the log; returns the revision reached.
static uint64_t check_round(struct bed *b, const struct ack *acks, size_t n, uint64_t from)
{
	struct check c = {.acks = acks, .n = n, .last = from};
	struct fl_store_watch_opts o = {.resource = b->things, .from_rv = from, .on_event = on_event, .arg = &c};
	struct fl_store_watch *w;
	struct fl_err err;
	bed_open(b);
	uint64_t rv = fl_store_revision(b->s);
	assert_int_equal(fl_store_watch_open(b->s, &o, &w, &err), 0);
	bed_turn(b);
	assert_int_equal(c.next, n);
	assert_int_equal(c.seen, rv - from);
	assert_true(rv - from - n <= 512); // at most one transaction beyond
	fl_store_watch_close(&w);
	bed_close(b);
	return rv;
}

static void test_kill(void **state)
{
	struct bed b;
	uint64_t from = 0, total = 0;
	const int rounds = test_rounds(ROUNDS);
	unsigned seed = test_seed((unsigned)getpid());
	bed_init(&b);
	print_message("seed %u\n", seed);
	for (int round = 0; round < rounds; round++) {
		int fds[2], status;
		assert_int_equal(pipe(fds), 0);
		unsigned child_seed = (unsigned)rand_r(&seed);
		pid_t pid = fork();
		if (pid == 0) {
			close(fds[0]);
			child_main(&b, fds[1], child_seed);
		}
		assert_true(pid > 0);
		close(fds[1]);
		FL_VEC(struct ack) acks = {0};
		struct ack a;
		// From right after the start to some checkpoints later.
		size_t enough = (unsigned)rand_r(&seed) % (round % 4 ? 3000 : 20);
		while (acks.n < enough && read(fds[0], &a, sizeof(a)) == sizeof(a))
			fl_vec_push(&acks, a);
		assert_int_equal(acks.n, enough);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		while (read(fds[0], &a, sizeof(a)) == sizeof(a)) // said before it died
			fl_vec_push(&acks, a);
		close(fds[0]);
		total += acks.n;
		from = check_round(&b, acks.v, acks.n, from);
		fl_vec_deinit(&acks);
	}
	assert_true(total > 1000);
	print_message("%d rounds, %d acknowledged writes\n", rounds, (int)total);
	bed_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

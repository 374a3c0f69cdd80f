#include <crypt.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/password.h"
#include "store/sasl.h"

enum {
	THREADS_LIMIT = 64,
	STACK_OCTETS = 256 << 10,
	BCRYPT_OCTETS = 72, /* it looks at no more of a password */
	BCRYPT_COST_LIMIT = 16,
	SHA512_ROUNDS_LIMIT = 5000000,
	YESCRYPT_MEMORY_LIMIT = 256 << 20,
};

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_FINISHED };

struct password_job {
	struct passwords *passwords;
	struct password_job *next;
	enum job_state state; /* under the lock */
	enum password_verdict verdict;
	bool made;                 /* `hash` is a new one */
	password_checked *checked; /* of these two, the one that is not NULL */
	password_hashed *hashed;   /* is called; both NULL: forgotten */
	void *owner;
	bool wants_hash;
	bool hopeless; /* no password can match; only the time is spent */
	char password[PASSWORD_OCTETS_LIMIT + 1];
	char hash[PASSWORD_RECORD_LIMIT + 1];
};

struct queue {
	struct password_job *first, **last;
};

struct passwords {
	size_t waiting_limit;
	const struct method *method; /* of new hashes */
	unsigned long cost;
	bool scram;
	char dummy[CRYPT_GENSALT_OUTPUT_SIZE]; /* a setting that costs what a new hash costs */
	struct event finished_event;
	int eventfd;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct queue waiting, finished; /* under the lock, as are the next two */
	size_t waiting_count;
	bool stopping;
	unsigned threads;
	pthread_t thread[THREADS_LIMIT];
};

/* ---- what is a hash ---- */

/* The alphabet of crypt(3), in the order of its values. */
static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static bool is_encoded(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if (t.ptr[i] == '\0' || !strchr(digits, t.ptr[i]))
			return false;
	}
	return true;
}

/* "NN$" + 22 of salt + 31 of hash */
static bool is_bcrypt(struct text rest)
{
	uint64_t cost;

	return rest.len == 56 && rest.ptr[2] == '$' && is_encoded(text_from(rest, 3)) &&
	       text_to_number(text_head(rest, 2), BCRYPT_COST_LIMIT, &cost) == 0 && cost >= 4;
}

/* "[rounds=N$]salt$hash" */
static bool is_sha512(struct text rest)
{
	struct text part;
	uint64_t rounds;

	if (text_begins(rest, TEXT("rounds="))) {
		text_split(&rest, '$', &part);
		if (text_to_number(text_from(part, 7), SHA512_ROUNDS_LIMIT, &rounds) != 0 ||
			rounds < 1000 || !rest.ptr)
			return false;
	}
	ptrdiff_t end = text_find(rest, '$');
	if (end < 1 || end > 16 || !is_encoded(text_head(rest, (size_t)end)))
		return false;
	struct text hash = text_from(rest, (size_t)end + 1);
	return hash.len == 86 && is_encoded(hash);
}

/* "jNR$salt$hash": flags, then the logarithm of N and r - 1, one digit each */
static bool is_yescrypt(struct text rest)
{
	struct text parameters, salt;

	if (!text_split(&rest, '$', &parameters) || parameters.len != 3 ||
		!is_encoded(parameters) || parameters.ptr[0] != 'j')
		return false;
	uint64_t log_n = (uint64_t)(strchr(digits, parameters.ptr[1]) - digits) + 1;
	uint64_t r = (uint64_t)(strchr(digits, parameters.ptr[2]) - digits) + 1;
	if (log_n > 30 || (UINT64_C(128) * r << log_n) > YESCRYPT_MEMORY_LIMIT)
		return false;
	return text_split(&rest, '$', &salt) && salt.len >= 1 && salt.len <= 86 &&
	       is_encoded(salt) && rest.len == 43 && is_encoded(rest);
}

static const struct method {
	const char *name; /* NULL: not for new hashes */
	const char *prefix;
	size_t octets; /* of a password that count */
	bool (*is_hash)(struct text rest);
} methods[] = {
	{ "yescrypt", "$y$", PASSWORD_OCTETS_LIMIT, is_yescrypt },
	{ "bcrypt", "$2b$", BCRYPT_OCTETS, is_bcrypt },
	{ "sha512-crypt", "$6$", PASSWORD_OCTETS_LIMIT, is_sha512 },
	{ NULL, "$2a$", BCRYPT_OCTETS, is_bcrypt },
	{ NULL, "$2y$", BCRYPT_OCTETS, is_bcrypt },
};
enum { METHODS = sizeof(methods) / sizeof(methods[0]) };

bool password_hash_is_usable(struct text hash)
{
	if (hash.len > PASSWORD_HASH_LIMIT)
		return false;
	for (size_t i = 0; i < METHODS; i++) {
		struct text prefix = text_of(methods[i].prefix);
		if (text_begins(hash, prefix))
			return methods[i].is_hash(text_from(hash, prefix.len));
	}
	return false;
}

static const struct method *find_method(const char *name)
{
	for (size_t i = 0; i < METHODS; i++) {
		if (methods[i].name && strcmp(methods[i].name, name) == 0)
			return &methods[i];
	}
	return NULL;
}

bool password_is_usable(const struct passwords *passwords, struct text password)
{
	return password.len > 0 && text_find(password, '\0') < 0 &&
	       password.len <= passwords->method->octets;
}

/* ---- the work, in any thread ---- */

static bool same_string(const char *a, const char *b)
{
	size_t length = strlen(a);

	return length == strlen(b) && CRYPTO_memcmp(a, b, length) == 0;
}

static void check(struct password_job *job, struct crypt_data *data)
{
	const char *result = crypt_r(job->password, job->hash, data);

	/* Mostly for want of memory. Told of whoever it is, so that it does not tell who exists. */
	if (!result || *result == '*')
		job->verdict = PASSWORD_UNCHECKED;
	else if (!job->hopeless && same_string(result, job->hash))
		job->verdict = PASSWORD_RIGHT;
	else
		job->verdict = PASSWORD_WRONG;
}

static void make_hash(struct password_job *job, struct crypt_data *data)
{
	const struct passwords *passwords = job->passwords;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (!crypt_gensalt_rn(
		    passwords->method->prefix, passwords->cost, NULL, 0, setting, sizeof(setting)))
		return;
	const char *result = crypt_r(job->password, setting, data);
	char verifier[SASL_VERIFIER_LIMIT + 1];
	if (!result || !password_hash_is_usable(text_of(result)))
		return;
	/* A password that SCRAM cannot carry (RFC 4013) is none the worse otherwise. */
	const bool has_verifier = passwords->scram && sasl_verifier(job->password, verifier);
	snprintf(job->hash, sizeof(job->hash), "%s%s%s", result, has_verifier ? " " : "",
		has_verifier ? verifier : "");
	job->made = true;
}

static void work(struct password_job *job, struct crypt_data *data)
{
	if (job->wants_hash)
		make_hash(job, data);
	else
		check(job, data);
	mem_wipe(job->password, sizeof(job->password));
	mem_wipe(data, sizeof(*data));
}

/* ---- the queues ---- */

static void add_job(struct queue *queue, struct password_job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct password_job *take_job(struct queue *queue)
{
	struct password_job *job = queue->first;

	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	return job;
}

static void remove_job(struct queue *queue, struct password_job *job)
{
	struct password_job **at = &queue->first;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	if (!*at)
		queue->last = at;
}

static void free_job(struct password_job *job)
{
	mem_wipe(job, sizeof(*job));
	mem_free(job);
}

static void free_queue(struct queue *queue)
{
	while (queue->first)
		free_job(take_job(queue));
}

/* ---- threads ---- */

static void tell_loop(struct passwords *passwords)
{
	const uint64_t one = 1;

	if (write(passwords->eventfd, &one, sizeof(one)) != sizeof(one))
		LOG_FATAL("password-thread-mute", LOG_ERRNO(errno));
}

static void *run_thread(void *argument)
{
	struct passwords *passwords = argument;
	struct crypt_data *data = mem_new(sizeof(*data));

	pthread_mutex_lock(&passwords->lock);
	while (!passwords->stopping) {
		if (!passwords->waiting.first) {
			pthread_cond_wait(&passwords->wake, &passwords->lock);
			continue;
		}
		struct password_job *job = take_job(&passwords->waiting);
		passwords->waiting_count--;
		job->state = JOB_RUNNING;
		pthread_mutex_unlock(&passwords->lock);
		work(job, data);
		pthread_mutex_lock(&passwords->lock);
		job->state = JOB_FINISHED;
		add_job(&passwords->finished, job);
		tell_loop(passwords);
	}
	pthread_mutex_unlock(&passwords->lock);
	mem_free(data);
	return NULL;
}

/* Signals are the event loop's business. */
static int start_threads(struct passwords *passwords, unsigned count)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int error = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_OCTETS);
	while (passwords->threads < count && error == 0) {
		error = pthread_create(
			&passwords->thread[passwords->threads], &attributes, run_thread, passwords);
		if (error == 0)
			passwords->threads++;
	}
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static void finish_job(struct password_job *job)
{
	if (job->checked)
		job->checked(job->owner, job->verdict);
	else if (job->hashed)
		job->hashed(job->owner, job->made ? job->hash : NULL);
	free_job(job);
}

/*
 * One job at a time leaves the queue, so that what a callback forgets is still in a queue or running.
 */
static void on_finished(evutil_socket_t fd, short what, void *argument)
{
	struct passwords *passwords = argument;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return;
	while (count--) {
		pthread_mutex_lock(&passwords->lock);
		struct password_job *job = take_job(&passwords->finished);
		pthread_mutex_unlock(&passwords->lock);
		finish_job(job);
	}
}

/* ---- life ---- */

/* 0, or an errno. */
static int choose_method(struct passwords *passwords, const struct password_options *options)
{
	passwords->method = find_method(options->method);
	passwords->cost = options->cost;
	passwords->scram = !options->no_scram;
	if (!passwords->method || options->threads == 0 || options->threads > THREADS_LIMIT)
		return EINVAL;
	if (!crypt_gensalt_rn(passwords->method->prefix, options->cost, NULL, 0, passwords->dummy,
		    sizeof(passwords->dummy)))
		return errno;
	return 0;
}

struct passwords *passwords_new(struct event_base *loop, const struct password_options *options)
{
	struct passwords *passwords = mem_new(sizeof(*passwords));

	passwords->waiting_limit = options->waiting;
	passwords->waiting.last = &passwords->waiting.first;
	passwords->finished.last = &passwords->finished.first;
	pthread_mutex_init(&passwords->lock, NULL);
	pthread_cond_init(&passwords->wake, NULL);
	passwords->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (passwords->eventfd < 0)
		LOG_FATAL("no-eventfd", LOG_ERRNO(errno));
	event_assign(&passwords->finished_event, loop, passwords->eventfd, EV_READ | EV_PERSIST,
		on_finished, passwords);
	event_add(&passwords->finished_event, NULL);
	int error = choose_method(passwords, options);
	if (error == 0)
		error = start_threads(passwords, options->threads);
	if (error) {
		LOG_ERROR("passwords-unavailable", LOG_STRING("method", options->method),
			LOG_NUMBER("cost", options->cost), LOG_ERRNO(error));
		passwords_free(&passwords);
	}
	return passwords;
}

void passwords_free(struct passwords **handle)
{
	struct passwords *passwords = *handle;

	*handle = NULL;
	if (!passwords)
		return;
	pthread_mutex_lock(&passwords->lock);
	passwords->stopping = true;
	pthread_cond_broadcast(&passwords->wake);
	pthread_mutex_unlock(&passwords->lock);
	while (passwords->threads)
		pthread_join(passwords->thread[--passwords->threads], NULL);
	event_del(&passwords->finished_event);
	close(passwords->eventfd);
	free_queue(&passwords->waiting);
	free_queue(&passwords->finished);
	pthread_cond_destroy(&passwords->wake);
	pthread_mutex_destroy(&passwords->lock);
	mem_free(passwords);
}

/* ---- jobs ---- */

/* NULL when as many wait as may. */
static struct password_job *enqueue(struct passwords *passwords, struct password_job *job)
{
	pthread_mutex_lock(&passwords->lock);
	bool room = passwords->waiting_count < passwords->waiting_limit;
	if (room) {
		add_job(&passwords->waiting, job);
		passwords->waiting_count++;
		pthread_cond_signal(&passwords->wake);
	}
	pthread_mutex_unlock(&passwords->lock);
	if (room)
		return job;
	free_job(job);
	return NULL;
}

static struct password_job *new_job(struct passwords *passwords, struct text password, void *owner)
{
	struct password_job *job = mem_new(sizeof(*job));

	job->passwords = passwords;
	job->owner = owner;
	if (password.len > PASSWORD_OCTETS_LIMIT || text_find(password, '\0') >= 0)
		job->hopeless = true;
	else if (password.len)
		memcpy(job->password, password.ptr, password.len);
	return job;
}

struct password_job *password_check(struct passwords *passwords, struct text password,
	struct text hash, password_checked *done, void *owner)
{
	struct password_job *job = new_job(passwords, password, owner);

	job->checked = done;
	if (!password_hash_is_usable(hash)) {
		job->hopeless = true;
		hash = text_of(passwords->dummy);
	}
	memcpy(job->hash, hash.ptr, hash.len);
	return enqueue(passwords, job);
}

struct password_job *password_hash(
	struct passwords *passwords, struct text password, password_hashed *done, void *owner)
{
	struct password_job *job = new_job(passwords, password, owner);

	job->wants_hash = true;
	job->hashed = done;
	return enqueue(passwords, job);
}

void password_job_forget(struct password_job **handle)
{
	struct password_job *job = *handle;

	*handle = NULL;
	if (!job)
		return;
	struct passwords *passwords = job->passwords;
	job->checked = NULL;
	job->hashed = NULL;
	pthread_mutex_lock(&passwords->lock);
	bool unused = job->state == JOB_WAITING;
	if (unused) {
		remove_job(&passwords->waiting, job);
		passwords->waiting_count--;
	}
	pthread_mutex_unlock(&passwords->lock);
	if (unused)
		free_job(job);
}

#include "store/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

enum { STACK = 256 * 1024 };

struct worker {
	pthread_t thread;
	struct event *finished; /* on the eventfd */
	int event_fd;

	pthread_mutex_t mutex; /* guards the rest */
	pthread_cond_t changed;
	int (*work)(void *owner);
	void (*done)(void *owner, int result);
	void *owner;
	int result;
	bool waiting; /* there is work that the thread has not taken up */
	bool working; /* from worker_start() until done() is about to be called */
	bool complete;
	bool ending;
};

static void *run(void *context)
{
	struct worker *worker = context;

	pthread_mutex_lock(&worker->mutex);
	while (!worker->ending) {
		if (!worker->waiting) {
			pthread_cond_wait(&worker->changed, &worker->mutex);
			continue;
		}
		worker->waiting = false;
		pthread_mutex_unlock(&worker->mutex);
		const int result = worker->work(worker->owner);
		pthread_mutex_lock(&worker->mutex);
		worker->result = result;
		worker->complete = true;
		/* Who wakes up next takes the mutex: it must not have to wait for it. */
		pthread_mutex_unlock(&worker->mutex);
		pthread_cond_broadcast(&worker->changed);
		/* It can only fail when the counter is full, and then the loop wakes up as well. */
		if (eventfd_write(worker->event_fd, 1) != 0)
			LOG_WARNING("worker-wake", LOG_ERRNO(errno));
		pthread_mutex_lock(&worker->mutex);
	}
	pthread_mutex_unlock(&worker->mutex);
	return NULL;
}

static void report(struct worker *worker)
{
	pthread_mutex_lock(&worker->mutex);
	const bool complete = worker->complete;
	worker->complete = false;
	if (complete)
		worker->working = false;
	pthread_mutex_unlock(&worker->mutex);
	if (complete)
		worker->done(worker->owner, worker->result);
}

static void on_finished(evutil_socket_t fd, short what, void *context)
{
	eventfd_t count;

	(void)what;
	loop_came();
	if (eventfd_read((int)fd, &count) == 0)
		report(context);
}

struct worker *worker_new(struct event_base *loop, const char *name)
{
	struct worker *worker = mem_new(sizeof(*worker));
	pthread_attr_t attributes;

	pthread_mutex_init(&worker->mutex, NULL);
	pthread_cond_init(&worker->changed, NULL);
	worker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->event_fd < 0) {
		mem_free(worker);
		return NULL;
	}
	worker->finished =
		event_new(loop, worker->event_fd, EV_READ | EV_PERSIST, on_finished, worker);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	const int error = !worker->finished || event_add(worker->finished, NULL) != 0
				  ? ENOMEM
				  : pthread_create(&worker->thread, &attributes, run, worker);
	pthread_attr_destroy(&attributes);
	if (error) {
		if (worker->finished)
			event_free(worker->finished);
		close(worker->event_fd);
		mem_free(worker);
		errno = error;
		return NULL;
	}
	pthread_setname_np(worker->thread, name);
	return worker;
}

void worker_start(struct worker *worker, int (*work)(void *owner),
	void (*done)(void *owner, int result), void *owner)
{
	pthread_mutex_lock(&worker->mutex);
	if (worker->working)
		LOG_FATAL("worker-started-twice");
	worker->work = work;
	worker->done = done;
	worker->owner = owner;
	worker->waiting = worker->working = true;
	pthread_mutex_unlock(&worker->mutex);
	pthread_cond_broadcast(&worker->changed);
}

bool worker_is_busy(const struct worker *worker)
{
	return worker->working; /* written by the main thread only */
}

static void wait_complete(struct worker *worker)
{
	pthread_mutex_lock(&worker->mutex);
	while (worker->working && !worker->complete)
		pthread_cond_wait(&worker->changed, &worker->mutex);
	pthread_mutex_unlock(&worker->mutex);
}

void worker_finish(struct worker *worker)
{
	wait_complete(worker);
	report(worker);
}

void worker_free(struct worker **worker)
{
	if (!*worker)
		return;
	wait_complete(*worker);
	pthread_mutex_lock(&(*worker)->mutex);
	(*worker)->ending = true;
	pthread_cond_broadcast(&(*worker)->changed);
	pthread_mutex_unlock(&(*worker)->mutex);
	pthread_join((*worker)->thread, NULL);
	event_free((*worker)->finished);
	close((*worker)->event_fd);
	pthread_cond_destroy(&(*worker)->changed);
	pthread_mutex_destroy(&(*worker)->mutex);
	mem_free(*worker);
	*worker = NULL;
}

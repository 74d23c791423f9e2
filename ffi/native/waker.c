/*
 * Wakers. Blocking in a nonblocking FFI call costs 115 µs and a thread of the runtime's pool, so
 * one thread of our own sleeps in epoll for all ports of an isolate and calls back into the event
 * loop when an armed one has something. Ports are armed for one event at a time (EPOLLONESHOT)
 * straight from the JavaScript thread: a system call, no hand-over. The thread knows ports only by
 * their tag, so a port may close at any time.
 *
 * The runtime must not end while a call is under way. `last` answers when none can be: it is always
 * readable, so armed it is called back at once, behind the calls of every port closed before.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "handles.h"
#include "port.h"

#define EVENTS_MAX 16

struct waker {
	int fd;
	int last;
	void (*callback)(uint32_t tag);
};

static struct nx_handles wakers = NX_HANDLES_INITIALIZER;

static void *sleep_and_call(void *argument)
{
	struct waker *waker = argument;
	struct epoll_event events[EVENTS_MAX];
	for (;;) {
		int count = epoll_wait(waker->fd, events, EVENTS_MAX, -1);
		for (int i = 0; i < count; i++) waker->callback(events[i].data.u32);
		if (count < 0 && errno != EINTR) return NULL;
	}
}

static int start_thread(struct waker *waker)
{
	sigset_t all, before;
	pthread_t thread;
	sigfillset(&all);
	/* Signals are the runtime's business. */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread, NULL, sleep_and_call, waker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0) pthread_detach(thread);
	return -error;
}

static int open_descriptors(struct waker *waker)
{
	struct epoll_event nothing = {.events = EPOLLONESHOT, .data.u32 = NX_WAKER_LAST};
	waker->fd = epoll_create1(EPOLL_CLOEXEC);
	if (waker->fd < 0) return -errno;
	waker->last = eventfd(1, EFD_CLOEXEC);
	if (waker->last < 0) return -errno;
	return epoll_ctl(waker->fd, EPOLL_CTL_ADD, waker->last, &nothing) < 0 ? -errno : 0;
}

int32_t nx_waker_open(void (*callback)(uint32_t tag))
{
	struct waker *waker = calloc(1, sizeof *waker);
	if (waker == NULL) return -ENOMEM;
	waker->callback = callback;
	waker->fd = waker->last = -1;
	int error = open_descriptors(waker);
	int32_t result = error < 0 ? error : nx_handle_add(&wakers, waker);
	error = result < 0 ? result : start_thread(waker);
	if (error == 0) return result;
	if (result >= 0) nx_handle_remove(&wakers, result);
	if (waker->last >= 0) close(waker->last);
	if (waker->fd >= 0) close(waker->fd);
	free(waker);
	return error;
}

int32_t nx_waker_last(int32_t handle)
{
	struct waker *waker = nx_handle_get(&wakers, handle);
	if (waker == NULL) return -EBADF;
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = NX_WAKER_LAST};
	return epoll_ctl(waker->fd, EPOLL_CTL_MOD, waker->last, &event) < 0 ? -errno : 0;
}

int nx_waker_fd(int32_t waker)
{
	struct waker *found = nx_handle_get(&wakers, waker);
	return found == NULL ? -EBADF : found->fd;
}

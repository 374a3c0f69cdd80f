#include "restante/password.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static int complain(const char *what)
{
	fprintf(stderr, "restante: %s\n", what);
	return EX_DATAERR;
}

/*
 * One line without its end; an octet at a time, so that nothing behind it is taken. 0, or -1 with
 * errno. What does not fit is cut off one octet beyond the limit.
 */
static int read_line(int fd, struct password *password)
{
	password->length = 0;
	for (;;) {
		char octet;
		const ssize_t got = read(fd, &octet, 1);
		if (got < 0)
			return -1;
		if (got == 0 || octet == '\n')
			break;
		if (password->length < sizeof(password->octets))
			password->octets[password->length++] = octet;
	}
	if (password->length && password->octets[password->length - 1] == '\r')
		password->length--;
	return 0;
}

static int check(const struct password *password)
{
	if (password->length == 0)
		return complain("the password is empty");
	if (password->length > STORE_PASSWORD_LIMIT)
		return complain("the password is longer than 1024 octets");
	for (size_t i = 0; i < password->length; i++) {
		/* It has crept in by mistake; no client could send it. */
		if ((unsigned char)password->octets[i] < ' ' || password->octets[i] == 127)
			return complain("the password holds a control character");
	}
	return EX_OK;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = number;
}

/* A Ctrl-C ends the question, but not before the terminal has its echo back. */
static int ask(int terminal, const char *prompt, struct password *password)
{
	const struct sigaction notice = { .sa_handler = on_interrupt };
	struct sigaction old;
	struct termios shown, unseen;

	if (tcgetattr(terminal, &shown) != 0)
		return -1;
	unseen = shown;
	unseen.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	interrupted = 0;
	sigaction(SIGINT, &notice, &old);
	int result = tcsetattr(terminal, TCSAFLUSH, &unseen);
	if (result == 0) {
		dprintf(terminal, "%s: ", prompt);
		result = read_line(terminal, password);
	}
	const int number = errno;
	tcsetattr(terminal, TCSAFLUSH, &shown);
	dprintf(terminal, "\n");
	sigaction(SIGINT, &old, NULL);
	if (interrupted)
		raise(SIGINT);
	errno = number;
	return result;
}

static int ask_twice(int terminal, const char *prompt, struct password *password)
{
	struct password again = { 0 };
	int status = EX_OK;

	if (ask(terminal, prompt, password) != 0 || ask(terminal, "The same again", &again) != 0)
		status = complain(log_errno(errno));
	else if (!text_equal((struct text){ password->octets, password->length },
			 (struct text){ again.octets, again.length }))
		status = complain("the two are not the same");
	password_forget(&again);
	return status == EX_OK ? check(password) : status;
}

int password_read(int fd, struct password *password)
{
	if (read_line(fd, password) != 0)
		return complain(log_errno(errno));
	return check(password);
}

int password_get(const char *prompt, struct password *password)
{
	int status;

	if (isatty(STDIN_FILENO)) {
		const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (terminal < 0)
			return complain(log_errno(errno));
		status = ask_twice(terminal, prompt, password);
		close(terminal);
	} else {
		status = password_read(STDIN_FILENO, password);
	}
	if (status != EX_OK)
		password_forget(password);
	return status;
}

void password_forget(struct password *password)
{
	mem_wipe(password, sizeof(*password));
}

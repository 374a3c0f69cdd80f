#include "bridge/pop3.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void pop3_expect(struct pop3 *pop3, unsigned seconds, uint64_t octets)
{
	stream_expect(&pop3->session->stream, seconds, octets);
}

static int send_octets(struct pop3 *pop3, struct text octets)
{
	mailstream *mail = pop3->session->stream.mail;

	if (mailstream_write(mail, octets.ptr, octets.len) == (ssize_t)octets.len)
		return 0;
	fault_set(&pop3->session->stream.fault, FAULT_NETWORK, "the connection broke");
	return session_check(pop3->session);
}

static int send_list(struct pop3 *pop3, const char *format, va_list arguments)
	__attribute__((format(printf, 2, 0)));

static int send_list(struct pop3 *pop3, const char *format, va_list arguments)
{
	char *line = NULL;
	const int length = vasprintf(&line, format, arguments);

	if (length < 0)
		return fault_set(&pop3->session->fault, FAULT_LOCAL, "out of memory");
	int result = send_octets(pop3, (struct text){ .ptr = line, .len = (size_t)length });
	if (result == 0)
		result = send_octets(pop3, TEXT("\r\n"));
	mem_wipe(line, (size_t)length);
	mem_free(line);
	return result;
}

int pop3_send(struct pop3 *pop3, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	const int result = send_list(pop3, format, arguments);
	va_end(arguments);
	return result;
}

int pop3_flush(struct pop3 *pop3)
{
	if (mailstream_flush(pop3->session->stream.mail) == 0)
		return 0;
	fault_set(&pop3->session->stream.fault, FAULT_NETWORK, "the connection broke");
	return session_check(pop3->session);
}

int pop3_fill(struct pop3 *pop3)
{
	mailstream *mail = pop3->session->stream.mail;

	if (pop3->start) {
		memmove(pop3->octets, pop3->octets + pop3->start, pop3->end - pop3->start);
		pop3->end -= pop3->start;
		pop3->start = 0;
	}
	size_t room = sizeof(pop3->octets) - pop3->end;
	/* It would wait for more than it has, so it is asked for what it has. */
	if (mail->read_buffer_len && mail->read_buffer_len < room)
		room = mail->read_buffer_len;
	const ssize_t got = mailstream_read(mail, pop3->octets + pop3->end, room);
	if (got > 0) {
		pop3->end += (size_t)got;
		return 0;
	}
	fault_set(&pop3->session->stream.fault, FAULT_NETWORK, "the connection broke");
	return session_check(pop3->session);
}

struct text pop3_input(const struct pop3 *pop3)
{
	return (struct text){ .ptr = pop3->octets + pop3->start, .len = pop3->end - pop3->start };
}

void pop3_used(struct pop3 *pop3, size_t octets)
{
	pop3->start += octets;
}

int pop3_line(struct pop3 *pop3, struct text *line)
{
	ptrdiff_t end;

	while ((end = text_find(pop3_input(pop3), '\n')) < 0 || end >= POP3_LINE_LIMIT) {
		if (end >= POP3_LINE_LIMIT || pop3_input(pop3).len >= POP3_LINE_LIMIT)
			return fault_set(&pop3->session->fault, FAULT_SERVER,
				"the server sends a line without end");
		if (pop3_fill(pop3) != 0)
			return -1;
	}
	*line = text_head(pop3_input(pop3), (size_t)end);
	if (line->len && line->ptr[line->len - 1] == '\r')
		line->len--;
	memcpy(pop3->line, line->ptr, line->len);
	pop3->line[line->len] = '\0';
	line->ptr = pop3->line;
	pop3_used(pop3, (size_t)end + 1);
	return 0;
}

int pop3_reply_to_auth(struct pop3 *pop3)
{
	struct text line;

	if (pop3_line(pop3, &line) != 0)
		return -1;
	const int status = pop3_status(line, &pop3->said);
	if (status <= 0)
		secret_hide(&pop3->session->secret, pop3->line);
	if (status < 0)
		fault_set(&pop3->session->fault, FAULT_SERVER,
			"the server says what is not POP3: %s", fault_quote(pop3->line).string);
	return status;
}

int pop3_reply(struct pop3 *pop3)
{
	const int status = pop3_reply_to_auth(pop3);

	return status < 2 ? status
			  : fault_set(&pop3->session->fault, FAULT_SERVER,
				    "the server asks for more where nothing is to be said");
}

int pop3_refused(struct pop3 *pop3, enum fault_kind kind, const char *doing)
{
	return fault_set(&pop3->session->fault, kind, "%s; the server says: %s", doing,
		fault_quote(pop3->said.len ? pop3->said.ptr : "nothing").string);
}

int pop3_command(struct pop3 *pop3, const char *doing, const char *format, ...)
{
	va_list arguments;

	pop3_expect(pop3, POP3_COMMAND_SECONDS, POP3_REPLY_OCTETS);
	va_start(arguments, format);
	const int sent = send_list(pop3, format, arguments);
	va_end(arguments);
	if (sent != 0 || pop3_flush(pop3) != 0)
		return -1;
	const int status = pop3_reply(pop3);
	if (status < 0)
		return -1;
	return status == 1 ? 0 : pop3_refused(pop3, FAULT_SERVER, doing);
}

int pop3_serve(struct session *session)
{
	struct pop3 *pop3 = mem_new(sizeof(*pop3));
	const struct bridge_account *account = session->options.account;

	pop3->session = session;
	int result = pop3_login(pop3);
	if (result == 0 && session->options.purpose == SESSION_TEST)
		session_tell(session, "%s port %u: logged in as %s", account->host,
			bridge_account_port(account), account->user);
	if (result == 0) {
		session_say(session, REPORT_PULLING);
		result = pop3_pull(pop3);
	}
	/* Without QUIT nothing is deleted there (RFC 1939 section 6): the next pull does it. */
	if (result == 0)
		result = pop3_command(pop3, "the server did not carry out the deletions", "QUIT");
	mem_free(pop3);
	return result;
}

#include "restante/banner.h"

#include <string.h>

#include "restante/demo_settings.h"

/* The IPv4 address of a service, which every demo has; "" when it was taken out of the settings. */
static struct text find_where(const struct listeners *listeners, const char *name)
{
	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->list[i];
		if (listener->service && text_equal(text_of(listener->name), text_of(name)))
			return text_of(listener->where);
	}
	return TEXT("");
}

struct row {
	const char *label, *service, *note;
};

static void print_row(struct buf *out, const struct listeners *listeners, const struct row *row)
{
	const struct text where = find_where(listeners, row->service);

	if (where.len)
		buf_format(out, "    %-7s%-17.*s  %s\n", row->label, TEXT_ARG(where), row->note);
}

static void print_users(struct buf *out)
{
	buf_add_string(out, "    users  ");
	for (size_t i = 0; i < DEMO_USERS; i++)
		buf_format(out, "%s@%s  ", demo_users[i], DEMO_DOMAIN);
	buf_format(out, "(password: %s)\n", DEMO_PASSWORD);
}

/* One line each, so that a paste is one paste whatever the shell. */
static void print_commands(struct buf *out, const struct listeners *listeners)
{
	const struct text smtp = find_where(listeners, "smtp"),
			  pop3 = find_where(listeners, "pop3");

	if (smtp.len)
		buf_format(out,
			"  Push a message to %s:\n\n"
			"    printf 'From: %s@%s\\r\\nTo: %s@%s\\r\\nSubject: Hello\\r\\n\\r\\n"
			"Pushed by SMTP.\\r\\n' | "
			"curl -sS -T - --mail-from %s@%s --mail-rcpt %s@%s smtp://%.*s\n\n",
			demo_users[0], demo_users[1], DEMO_DOMAIN, demo_users[0], DEMO_DOMAIN,
			demo_users[1], DEMO_DOMAIN, demo_users[0], DEMO_DOMAIN, TEXT_ARG(smtp));
	if (pop3.len)
		buf_format(out,
			"  Pull it (without the 1: the list of what waits):\n\n"
			"    curl -sS -u %s@%s:%s pop3://%.*s/1\n\n",
			demo_users[0], DEMO_DOMAIN, DEMO_PASSWORD, TEXT_ARG(pop3));
	buf_add_string(out, "  With -v, curl shows every line that is said.\n\n");
}

/* As a shell reads it; most paths need nothing. */
static void print_path(struct buf *out, const char *path)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";

	if (path[strspn(path, plain)] == '\0') {
		buf_add_string(out, path);
		return;
	}
	buf_add_char(out, '\'');
	for (; *path; path++) {
		if (*path == '\'')
			buf_add_string(out, "'\\''");
		else
			buf_add_char(out, *path);
	}
	buf_add_char(out, '\'');
}

static void print_trace(struct buf *out, const char *program, const char *directory)
{
	buf_add_string(out, "  See what happened to it:\n\n    ");
	print_path(out, program);
	buf_format(out, " trace %s@%s -c ", demo_users[1], DEMO_DOMAIN);
	print_path(out, directory);
	buf_add_string(out, "/restante.conf\n\n");
}

void banner_print(struct buf *out, const struct listeners *listeners, const char *program,
	const char *directory)
{
	static const struct row rows[] = {
		{ "push", "smtp", "SMTP, with STARTTLS" },
		{ "", "submission", "SMTP of the users, who log in, with STARTTLS" },
		{ "", "submissions", "the same over TLS" },
		{ "pull", "pop3", "POP3, with STLS" },
		{ "", "pop3s", "POP3 over TLS" },
	};

	buf_add_string(
		out, "\nrestante is running: a mail host, reachable from this machine only.\n\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		print_row(out, listeners, &rows[i]);
	print_users(out);
	buf_format(out, "    kept   %s\n\n", directory);
	print_commands(out, listeners);
	print_trace(out, program, directory);
	buf_add_string(out, "  Ctrl-C ends it; the mail is kept.\n\n");
}

void banner_print_ports(struct buf *out, const struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->list[i];
		const struct text where = text_of(listener->where);
		bool first = listener->service != NULL;
		for (size_t k = 0; first && k < i; k++)
			first = !listeners->list[k].service ||
				listeners->list[k].name != listener->name;
		if (first)
			buf_format(out, "%s=%.*s\n", listener->name,
				TEXT_ARG(text_from(where, (size_t)text_find_last(where, ':') + 1)));
	}
}

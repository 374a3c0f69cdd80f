/*
 * The users as text, for a store whose index was lost: the file `users` beside it, readable by the store
 * alone.
 *
 *	restante-users 1
 *	next 3
 *	user alice@example.test 1 0 0 $y$j9T$…
 *
 * next: the number of the next user. A user's line: address (%XX for blanks, '%' and control
 * characters), number, quota in octets and in messages, hash, and, if there is one, the SCRAM verifier.
 * Behind them come the domains and aliases of directory_file.c.
 */
#include <errno.h>
#include <stdio.h>

#include "store/sasl.h"
#include "store/users.h"

enum { FILE_LIMIT = 1 << 30 };

void users_print_address(struct text address, struct buf *out)
{
	for (size_t i = 0; i < address.len; i++) {
		const unsigned char octet = (unsigned char)address.ptr[i];
		if (octet <= ' ' || octet == '%' || octet == 0x7f)
			buf_format(out, "%%%02X", (unsigned)octet);
		else
			buf_add_char(out, (char)octet);
	}
}

void users_print(const struct engine *engine, struct buf *out)
{
	buf_format(out, "restante-users 1\nnext %u\n", engine->counters.next_user);
	for (size_t i = 0; i < engine->user_count; i++) {
		const struct engine_user *user = &engine->users[i]->public;
		if (engine->users[i]->hidden)
			continue;
		buf_add_string(out, "user ");
		users_print_address(user->address, out);
		buf_format(out, " %u %llu %llu %s\n", user->number,
			(unsigned long long)user->quota_octets,
			(unsigned long long)user->quota_messages, engine->users[i]->hash);
	}
	directory_print(engine, out);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int users_parse_address(struct text escaped, struct buf *address)
{
	buf_clear(address);
	for (size_t i = 0; i < escaped.len; i++) {
		if (escaped.ptr[i] != '%') {
			buf_add_char(address, escaped.ptr[i]);
			continue;
		}
		if (i + 2 >= escaped.len || digit(escaped.ptr[i + 1]) < 0 ||
			digit(escaped.ptr[i + 2]) < 0)
			return -1;
		buf_add_char(address,
			(char)(digit(escaped.ptr[i + 1]) << 4 | digit(escaped.ptr[i + 2])));
		i += 2;
	}
	return buf_length(address) > 0 && buf_length(address) <= STORE_ADDRESS_LIMIT ? 0 : -1;
}

/* A hash, perhaps a blank and a verifier. */
static bool is_hash_line(struct text line)
{
	const ptrdiff_t blank = text_find(line, ' ');

	return blank < 0 ||
	       (blank > 0 && sasl_verifier_is_usable(text_from(line, (size_t)blank + 1)));
}

static int parse_user(struct engine *engine, struct text rest, struct buf *address)
{
	struct text part[5];
	uint64_t number, octets, messages;

	for (size_t i = 0; i < 4; i++) {
		if (!text_split(&rest, ' ', &part[i]))
			return -1;
	}
	part[4] = rest.ptr ? rest : TEXT("");
	if (users_parse_address(part[0], address) != 0 ||
		text_to_number(part[1], UINT32_MAX - 1, &number) != 0 || number == 0 ||
		text_to_number(part[2], INT64_MAX, &octets) != 0 ||
		text_to_number(part[3], INT64_MAX, &messages) != 0 || part[4].len == 0 ||
		part[4].len > INDEX_HASH_LIMIT || text_find(part[4], '\0') >= 0 ||
		!is_hash_line(part[4]) || users_find(engine, buf_text(address)) ||
		users_with_number(engine, (uint32_t)number))
		return -1;
	struct user *user = users_insert(engine, buf_text(address), (uint32_t)number, part[4]);
	user->public.quota_octets = octets;
	user->public.quota_messages = messages;
	if (engine->counters.next_user <= number)
		engine->counters.next_user = (uint32_t)number + 1;
	return 0;
}

int users_parse(struct engine *engine, struct text octets)
{
	struct text rest = octets, line;
	struct buf address = { 0 };
	uint64_t next;
	int bad = 0;

	if (!octets.len || octets.ptr[octets.len - 1] != '\n' || !text_split(&rest, '\n', &line) ||
		!text_equal(line, TEXT("restante-users 1")))
		return -1;
	while (!bad && text_split(&rest, '\n', &line) && line.len) {
		if (text_begins(line, TEXT("user ")))
			bad = parse_user(engine, text_from(line, 5), &address);
		else if (text_begins(line, TEXT("alias ")) || text_begins(line, TEXT("domain ")))
			bad = directory_parse(engine, line);
		else if (!text_begins(line, TEXT("next ")) ||
			 text_to_number(text_from(line, 5), UINT32_MAX - 1, &next) != 0)
			bad = -1;
		else if (engine->counters.next_user < next)
			engine->counters.next_user = (uint32_t)next;
	}
	buf_release(&address);
	return bad;
}

int users_write_file(struct engine *engine)
{
	struct buf out = { 0 };

	users_print(engine, &out);
	const int result = sys_replace_file(
		engine->root, "users", buf_text(&out).ptr, buf_text(&out).len, S_IRUSR | S_IWUSR);
	const int error = errno;
	buf_wipe(&out);
	errno = error;
	return result;
}

int users_read_file(struct engine *engine)
{
	size_t size;
	char *octets = sys_read_file(engine->root, "users", FILE_LIMIT, &size);

	if (!octets)
		return errno == ENOENT ? 0 : -1;
	const int result = users_parse(engine, (struct text){ .ptr = octets, .len = size });
	mem_wipe(octets, size);
	mem_free(octets);
	errno = EBADMSG;
	return result == 0 ? 1 : -1;
}

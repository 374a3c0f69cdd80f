/*
 * The header of a submission, in pieces: what comes out does not depend on them; it holds no Bcc, and one
 * From, Date and Message-ID at least; and who is said to have written it is who a reader of what came
 * out finds.
 */
#include <string.h>

#include "base/arena.h"
#include "mail/header.h"
#include "mail/mailboxes.h"
#include "smtp-in/submission.h"
#include "tests/fuzz/fuzz.h"

static struct submission *filter(struct text in, size_t piece, bool dot_ends, struct buf *out)
{
	struct submission *submission = submission_new(&(struct submission_options){
		.dot_ends = dot_ends,
		.sender = TEXT("alice@example.test"),
		.id = TEXT("id"),
		.host = TEXT("mx.example.test"),
	});

	while (in.len && !submission_is_over(submission)) {
		const struct text part = text_head(in, piece);
		const size_t taken = submission_take(submission, part, out);
		REQUIRE(taken <= part.len);
		REQUIRE(taken == part.len || submission_is_over(submission));
		in = text_from(in, taken);
	}
	submission_finish(submission, out);
	buf_add(out, in);
	REQUIRE(submission_is_over(submission));
	return submission;
}

/* CRLF line ends only: with others the message is refused, whatever its header. */
static bool has_good_lines(struct text in)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '\n' && (i == 0 || in.ptr[i - 1] != '\r'))
			return false;
		if (in.ptr[i] == '\r' && (i + 1 == in.len || in.ptr[i + 1] != '\n'))
			return false;
	}
	return true;
}

/* As whoever gets it reads it. */
static void unstuff(struct text stuffed, struct buf *out)
{
	for (size_t i = 0; i < stuffed.len; i++) {
		const bool begins = i == 0 || stuffed.ptr[i - 1] == '\n';
		if (!begins || stuffed.ptr[i] != '.')
			buf_add_char(out, stuffed.ptr[i]);
	}
}

static void check_header(const struct submission *submission, struct text out)
{
	const struct text header = text_head(out, header_length(out));
	struct address claimed[SUBMISSION_AUTHORS], seen[SUBMISSION_AUTHORS];
	struct arena *arena = arena_new(1024);
	const int count = submission_authors(submission, arena, claimed);
	struct text from;

	REQUIRE(header_count(header, TEXT("Bcc")) == 0);
	REQUIRE(header_count(header, TEXT("Resent-Bcc")) == 0);
	REQUIRE(header_count(header, TEXT("From")) >= 1);
	REQUIRE(header_count(header, TEXT("Date")) >= 1);
	REQUIRE(header_count(header, TEXT("Message-ID")) >= 1);
	if (count > 0) {
		REQUIRE(header_count(header, TEXT("From")) == 1);
		REQUIRE(header_find(arena, header, TEXT("From"), &from));
		REQUIRE(mailboxes_parse(arena, from, seen, SUBMISSION_AUTHORS) == count);
		for (int i = 0; i < count; i++)
			REQUIRE(text_equal(
				address_print(arena, &claimed[i]), address_print(arena, &seen[i])));
	}
	arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, pieces = { 0 }, read = { 0 };

	if (size < 1)
		return 0;
	const bool dot_ends = data[0] & 1;
	const struct text in = { .ptr = (const char *)data + 1, .len = size - 1 };
	struct submission *one = filter(in, SIZE_MAX, dot_ends, &whole);
	struct submission *other = filter(in, 1 + data[0] / 2, dot_ends, &pieces);
	REQUIRE(text_equal(buf_text(&whole), buf_text(&pieces)));
	if (dot_ends)
		unstuff(buf_text(&whole), &read);
	if (has_good_lines(in))
		check_header(one, buf_text(dot_ends ? &read : &whole));
	submission_free(&one);
	submission_free(&other);
	buf_release(&whole);
	buf_release(&pieces);
	buf_release(&read);
	return 0;
}

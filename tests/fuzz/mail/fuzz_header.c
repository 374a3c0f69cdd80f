/*
 * Header fields, in stored and wire form; and trace fields made of anything at all.
 */
#include <string.h>

#include "base/arena.h"
#include "mail/header.h"
#include "mail/trace.h"
#include "tests/fuzz/fuzz.h"

/* Fields lie end to end, each begins with its name, and the header is as long as they say. */
static unsigned check_walk(struct text message)
{
	struct header_field field;
	struct text rest = message;
	unsigned fields = 0;
	bool broken = false;
	int result;

	for (;;) {
		const struct text before = rest;
		ptrdiff_t lf;

		result = header_next(&rest, &field);
		if (result == 0)
			break;
		if (result < 0) {
			REQUIRE(rest.ptr == before.ptr && rest.len == before.len);
			broken = true;
			lf = text_find(rest, '\n');
			rest = text_from(rest, lf < 0 ? rest.len : (size_t)lf + 1);
			continue;
		}
		REQUIRE(field.whole.ptr == before.ptr && rest.ptr == before.ptr + field.whole.len);
		REQUIRE(text_begins(field.whole, field.name) && field.name.len > 0);
		REQUIRE(field.value.ptr >= field.name.ptr + field.name.len + 1);
		REQUIRE(field.value.ptr + field.value.len <= rest.ptr);
		REQUIRE(rest.len == 0 || field.whole.ptr[field.whole.len - 1] == '\n');
		fields++;
	}
	REQUIRE(message.len - rest.len <= header_length(message));
	REQUIRE(broken || message.len - rest.len == header_length(message));
	return fields;
}

static void check_find(struct text message, struct text name)
{
	struct arena *arena = arena_new(4096);
	struct text value;
	const bool found = header_find(arena, message, name, &value);

	REQUIRE(found == (header_count(message, name) > 0));
	if (found)
		REQUIRE(text_find(value, '\r') < 0 && text_find(value, '\n') < 0 &&
			value.len <= HEADER_VALUE_LIMIT);
	arena_free(&arena);
}

/* With CRLF for LF it has the same fields. */
static void check_wire_form(struct text message, unsigned fields)
{
	struct buf wire = { 0 };

	if (text_find(message, '\r') >= 0)
		return;
	for (size_t i = 0; i < message.len; i++)
		buf_add_string(
			&wire, message.ptr[i] == '\n' ? "\r\n" : (char[2]){ message.ptr[i] });
	/* A NUL adds nothing there and may change what is a field; it is no message for this. */
	if (text_find(message, '\0') < 0)
		REQUIRE(check_walk(buf_text(&wire)) == fields);
	buf_release(&wire);
}

static void check_one_field(const struct buf *out, struct text name)
{
	struct text rest = buf_text(out);
	struct header_field field;

	REQUIRE(header_next(&rest, &field) == 1 && rest.len == 0);
	REQUIRE(text_equal(field.name, name));
	for (size_t i = 0; i < field.whole.len; i++) {
		const unsigned char c = (unsigned char)field.whole.ptr[i];
		const char next = i + 1 < field.whole.len ? field.whole.ptr[i + 1] : '\t';

		REQUIRE(c >= ' ' || c == '\t' || c == '\n');
		REQUIRE(c != '\n' || next == '\t');
		REQUIRE(c != 0x7f);
	}
}

static void check_trace(struct text in)
{
	struct text part[4] = { { 0 } };
	struct trace_received received = {
		.with = TEXT("ESMTP"),
		.tls_version = "TLSv1.3",
		.tls_cipher = "TLS_AES_256_GCM_SHA384",
		.when = (time_t)in.len << 24,
	};
	struct address address;
	struct buf out = { 0 };

	for (size_t i = 0; i < 4 && text_split(&in, '|', &part[i]); i++)
		;
	address = (struct address){ .local = part[2], .domain = part[3] };
	received.helo = part[0];
	received.peer = part[1];
	received.by = part[2];
	received.id = part[3];
	received.recipient = &address;
	trace_add_received(&out, &received, "\n");
	check_one_field(&out, TEXT("Received"));
	buf_clear(&out);
	trace_add_return_path(&out, &address, "\n");
	check_one_field(&out, TEXT("Return-Path"));
	buf_clear(&out);
	trace_add_delivered_to(&out, part[0], "\n");
	check_one_field(&out, TEXT("Delivered-To"));
	buf_release(&out);
}

/* Put below a field that this host wrote, the input changes nothing in what is found of it. */
static void check_loop(struct text in)
{
	struct buf message = { 0 };

	trace_add_delivered_to(&message, TEXT("a@b"), "\n");
	buf_add_string(&message, "Delivered-To:");
	buf_add(&message, in);
	REQUIRE(trace_find_loop(buf_text(&message), TEXT("A@B"), UINT32_MAX) != NULL);
	REQUIRE(trace_find_loop(buf_text(&message), TEXT(""), UINT32_MAX) == NULL);
	trace_find_loop(buf_text(&message), TEXT("c"), UINT32_MAX);
	buf_release(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text in = fuzz_text(octets, size);
	const unsigned fields = check_walk(in);

	check_wire_form(in, fields);
	check_find(in, TEXT("a"));
	check_find(in, TEXT("Received"));
	if (header_count(in, TEXT("Received")) > 3)
		REQUIRE(trace_find_loop(in, TEXT("a@b"), 3) != NULL);
	check_loop(in);
	check_trace(in);
	return 0;
}

#include "bridge/fault.h"

#include <stdarg.h>
#include <stdio.h>

enum {
	FIRST_PAUSE = 5,
	MOST_PAUSE = 15 * 60,
	FIRST_LOGIN_PAUSE = 5 * 60,
	MOST_LOGIN_PAUSE = 4 * 3600,
	FIRST_LOCAL_PAUSE = 1,
	MOST_LOCAL_PAUSE = 60,
	FIRST_FULL_PAUSE = 60,
	MOST_FULL_PAUSE = 3600,
};

int fault_set(struct fault *fault, enum fault_kind kind, const char *format, ...)
{
	va_list arguments;

	if (fault->kind != FAULT_NONE)
		return -1;
	fault->kind = kind;
	va_start(arguments, format);
	vsnprintf(fault->sentence, sizeof(fault->sentence), format, arguments);
	va_end(arguments);
	return -1;
}

const char *fault_kind_name(enum fault_kind kind)
{
	switch (kind) {
	case FAULT_NONE:
		return "none";
	case FAULT_STOPPED:
		return "stopped";
	case FAULT_SETTINGS:
		return "settings";
	case FAULT_NETWORK:
		return "network";
	case FAULT_TLS:
		return "tls";
	case FAULT_LOGIN:
		return "login";
	case FAULT_SERVER:
		return "server";
	case FAULT_LOCAL:
		return "local";
	case FAULT_FULL:
		return "full";
	case FAULT_KINDS:
		break;
	}
	return "?";
}

/* first, doubled with every failure, up to most. */
static unsigned grow(unsigned first, unsigned most, unsigned failures)
{
	while (failures-- > 1 && first < most)
		first *= 2;
	return first < most ? first : most;
}

unsigned fault_pause(enum fault_kind kind, unsigned failures)
{
	switch (kind) {
	case FAULT_LOGIN:
	case FAULT_SETTINGS:
		return grow(FIRST_LOGIN_PAUSE, MOST_LOGIN_PAUSE, failures);
	case FAULT_LOCAL:
		return grow(FIRST_LOCAL_PAUSE, MOST_LOCAL_PAUSE, failures);
	case FAULT_FULL:
		return grow(FIRST_FULL_PAUSE, MOST_FULL_PAUSE, failures);
	case FAULT_NONE:
	case FAULT_STOPPED:
	case FAULT_NETWORK:
	case FAULT_TLS:
	case FAULT_SERVER:
	case FAULT_KINDS:
		break;
	}
	return grow(FIRST_PAUSE, MOST_PAUSE, failures);
}

struct fault_quote fault_quote(const char *octets)
{
	struct fault_quote quote = { "" };
	size_t used = 0;

	for (; octets && *octets && used < sizeof(quote.string) - 1; octets++) {
		const unsigned char c = (unsigned char)*octets;
		if (c == '\r' || c == '\n')
			continue;
		quote.string[used++] = c < ' ' || c > 126 ? '?' : (char)c;
	}
	return quote;
}

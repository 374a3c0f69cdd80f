/*
 * What restante alias and restante domain have in common: a desk at the store, answers, addresses.
 */
#ifndef RESTANTE_DIRECTORY_H
#define RESTANTE_DIRECTORY_H

#include "mail/address.h"
#include "restante/command.h"
#include "restante/desk.h"

struct arena;

/* {0} with an arena. What the store said to the last request. */
struct answer {
	struct arena *arena;
	bool done;
	enum store_failure failure;
	struct text sentence; /* in the arena */
	uint32_t changed;
};

/* A store_client_done for every request whose reply is like ALIASES_PUT's; owner is the answer. */
void answer_take(void *owner, struct store_reply *reply);

/* A failure as a person is told of it, with what to do where that can be known, and as a command's status. */
struct directory_verdict {
	int status; /* of sysexits.h */
	const char *sentence;
};
struct directory_verdict directory_judge(enum store_failure failure);

/* Wait for what was asked; then an exit status, after having said what the store said. */
int answer_wait(struct desk *desk, struct answer *answer, const char *verb);

/* Read settings, enter the desk, call `serve` and leave it: an exit status. */
int directory_serve(const char *settings_file,
	int (*serve)(struct desk *desk, const struct host_settings *settings, void *owner),
	void *owner);

/* This address (canonical) was removed: name the aliases that have it among their members and miss it. */
void directory_warn_of_members(struct desk *desk, struct text gone);

/* The first domain of the settings, or "". */
struct text directory_domain(const struct host_settings *settings);

/*
 * A word as an address for the store: with the first domain if it has none; "@domain" where catch_all. 0, or
 * EX_USAGE after having said what is wrong with it.
 */
int directory_address(const struct command_line *line, struct arena *arena, const char *word,
	struct text domain, bool catch_all, struct text *address);

/* A canonical address as people write it; "@domain" stays. */
struct text directory_print(struct arena *arena, struct text canonical);

#endif

/*
 * The delivery plan of one message, as data: for each recipient a list of actions. Resolution makes it
 * (and a filter may alter it), commit carries it out, and neither knows the other.
 *
 * The actions of a recipient belong together: all are carried out or none. One refusal among them
 * refuses the recipient.
 */
#ifndef MDA_PLAN_H
#define MDA_PLAN_H

#include "mail/address.h"
#include "mail/dsn.h"
#include "mail/reply.h"

struct arena;

enum plan_kind {
	PLAN_KEEP,      /* into the mailbox that the address stands for */
	PLAN_FILE_INTO, /* into another mailbox of that user, which somebody chose */
	PLAN_REDIRECT, /* to another address; mda/redirect.h turns it into what that one stands for */
	PLAN_DISCARD, /* nothing is kept, and the sender is told that all is well */
	PLAN_REFUSE,  /* nothing is kept, and the sender is told so */
};

/* Of PLAN_KEEP and PLAN_FILE_INTO. Texts are canonical and last as long as the plan's arena. */
struct plan_keep {
	struct text user;
	struct text mailbox;
	struct text keywords;  /* blanks between */
	uint32_t flags;        /* enum store_flag */
	struct text sender;    /* who gets the errors: a list's owner; "": the envelope's sender */
	struct text once;      /* "", or the key under which the user gets it only once */
	uint32_t once_seconds; /* how long that key counts; 0: for ever */
};

struct plan_redirect {
	struct address address;
	unsigned depth; /* redirects that led here, this one included */
	bool resolved;  /* what it stands for is among the recipient's actions */
};

struct plan_discard {
	struct text why; /* a few words for the log */
};

struct plan_action {
	enum plan_kind kind;
	union {
		struct plan_keep keep;
		struct plan_redirect redirect;
		struct plan_discard discard;
		struct reply refuse;
	} of;
	struct plan_action *next;
};

struct plan_recipient {
	struct address address;   /* as RCPT named it */
	struct text alias;        /* the first one by which it was resolved; "": none */
	struct dsn_recipient dsn; /* what the sender wants to know */
	struct plan_action *first, **end;
	struct reply verdict; /* what became of it: commit's to say */
	struct plan_recipient *next;
};

struct plan {
	struct arena *arena;
	struct plan_recipient *first, **end;
	size_t recipients;
	size_t kept; /* actions that keep something, of all recipients */
};

/* What one transaction of the store takes. */
enum { PLAN_KEPT_LIMIT = 1000 };

void plan_init(struct plan *plan, struct arena *arena);

/* A recipient for whom nothing is to be done yet; the address is copied. Not yet part of a plan. */
struct plan_recipient *plan_recipient_new(struct arena *arena, const struct address *address);

/* One action more; texts are copied. */
void plan_add_keep(
	struct arena *arena, struct plan_recipient *recipient, const struct plan_keep *keep);
void plan_add_file_into(
	struct arena *arena, struct plan_recipient *recipient, const struct plan_keep *keep);
void plan_add_redirect(
	struct arena *arena, struct plan_recipient *recipient, const struct address *address);
void plan_add_discard(struct arena *arena, struct plan_recipient *recipient, struct text why);
void plan_add_refuse(
	struct arena *arena, struct plan_recipient *recipient, const struct reply *reply);

/*
 * What a trusted client wants done with the message for one recipient, whatever its address stands for.
 * Texts are canonical; ptr NULL or "": no wish.
 */
struct plan_wish {
	struct text mailbox;
	struct text keywords; /* blanks between; beside those that are there */
	struct text once;
	uint32_t flags; /* likewise */
};

void plan_wish(struct arena *arena, struct plan_recipient *recipient, const struct plan_wish *wish);

/* Whether what is kept for this recipient fits beside the others. */
bool plan_has_room(const struct plan *plan, const struct plan_recipient *recipient);

/*
 * Let each mailbox keep this message, named by `same`, only once within so many seconds; where a client
 * has a key of its own, that one counts.
 */
void plan_keep_once(struct plan *plan, struct text same, uint32_t seconds);

/* Put a recipient at the plan's end. */
void plan_add(struct plan *plan, struct plan_recipient *recipient);

/* What is kept by this action, or NULL. */
const struct plan_keep *plan_action_keep(const struct plan_action *action);

/* Why this recipient gets nothing, or NULL. */
const struct reply *plan_recipient_refusal(const struct plan_recipient *recipient);

/* One thing to keep. */
struct plan_target {
	const struct plan_keep *keep;
	size_t recipient; /* its number in the plan, from 0 */
	/* What became of it: commit's to say. */
	uint8_t failure; /* enum store_failure; STORE_ALREADY_EXISTS: it was there before */
	bool culprit;    /* the store stumbled over this user */
	uint32_t uid;    /* 0: not stored */
};

/*
 * What is to be kept for recipients who are not refused, into an array in the plan's arena; their number.
 * By user and mailbox, each once however many recipients lead there; with `each`, where recipients
 * stand or fall alone, once for every recipient, and in their order.
 */
size_t plan_targets(const struct plan *plan, bool each, struct plan_target **targets);

/*
 * Who the errors go to, given the envelope's sender: the owner, when everything goes to lists of one owner.
 * One body has one Return-Path; with several owners, or somebody addressed directly, it stays the sender's.
 * The null sender stays null: nothing may answer such a message (RFC 5321 section 4.5.5).
 */
struct address plan_sender(const struct plan *plan, const struct address *sender);

/* The only user who gets the message; ptr NULL when there are several, or none. */
struct text plan_only_user(const struct plan *plan);

#endif

/*
 * A front end that changes a user's mailboxes without pause, one request at a time, over the store protocol
 * of imapd, and says on standard output what it asks for and what it was promised:
 *
 *	storeload SOCKET USER PASSWORD SEED PREFIX [large]
 *	                                              until standard input ends or the store is away
 *	storeload SOCKET USER PASSWORD                what there is, all of it; exit status 0 when it is whole
 *
 * A line each, fields with tabs between: "ask" before a request; "got" and a failure for its answer, so that
 * an "ask" without one may have happened or not. All names but INBOX begin with PREFIX, so that several can
 * work for one user. With "large" most requests are about hundreds of messages, for which the store needs
 * several transactions. A listing goes on with "message" lines (UID, flags, keywords, X-Crash-Key, digest
 * from there on) and "end"; what moved before a refusal is told with it.
 */
#include <endian.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "store/client.h"

enum {
	UIDS = 65536, /* of a mailbox that are looked at */
	MANY = 110,   /* in a mailbox, and most of them go */
	FEW = 20,
	LARGE = 3,        /* mailboxes that have hundreds of messages */
	HUNDREDS = 300,   /* in one of them, from which on all of it goes elsewhere */
	ENOUGH = 800,     /* and from which on most of it goes away */
	MAILBOXES = 4096, /* renamed below each other they become more and more */
	TRIES = 20,
};

static const char *const endings[] = { "Box", "Box/a", "Box/b/c", "Gr\303\266\303\237e", "Other",
	"Other/a" };
static const char *const keyword_sets[] = { "", "", "work", "work later", "$Forwarded" };

enum { NAMES = 2 + sizeof(endings) / sizeof(endings[0]) }; /* INBOX twice, as it is busier */

struct load {
	struct event_base *loop;
	struct store_client *client;
	uint32_t random;
	bool large;
	bool stopping, away;
	size_t pending; /* replies to the request under way */
	enum store_failure failure;
	struct digest *digest;

	char mailbox[STORE_MAILBOX_LIMIT + 1]; /* selected */
	char keywords[STORE_KEYWORDS_LIMIT + 1];
	struct store_listing_entry entries[UIDS];
	size_t count;   /* of them */
	size_t fetched; /* replies to FETCH so far */
	bool whole;     /* the listing had no more, and every message could be read */

	char names[NAMES][64];
	uint32_t first; /* of them that mailboxes are renamed to: nobody's are to be below INBOX */
	char found[MAILBOXES][STORE_MAILBOX_LIMIT + 1];
	size_t found_count;
};

static uint32_t draw(struct load *load, uint32_t below)
{
	load->random = load->random * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(load->random >> 8) * below >> 24);
}

/* ---- what is said about replies ---- */

static void print_uids(struct text run)
{
	putchar('\t');
	for (size_t at = 0; at + sizeof(uint32_t) <= run.len; at += sizeof(uint32_t)) {
		uint32_t uid;
		memcpy(&uid, run.ptr + at, sizeof(uid));
		printf("%s%u", at ? "," : "", le32toh(uid));
	}
}

static void print_keywords(const struct load *load, uint64_t bits)
{
	struct text rest = text_of(load->keywords), name;
	const char *before = "";

	for (unsigned bit = 0; rest.len && bit < STORE_KEYWORDS; bit++) {
		if (!text_split(&rest, ' ', &name))
			break;
		if (bits >> bit & 1) {
			printf("%s%.*s", before, TEXT_ARG(name));
			before = " ";
		}
	}
}

/* "KEY\tDIGEST", or "?\t?" for a message that nobody of ours sent. */
static void print_content(struct load *load, int fd, uint64_t size)
{
	static const char mark[] = "X-Crash-Key: ";
	char hex[DIGEST_HEX + 1];
	char *octets = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	const char *at = octets == MAP_FAILED ? NULL : memmem(octets, size, mark, strlen(mark));

	if (at) {
		const struct text rest = { .ptr = at, .len = size - (size_t)(at - octets) };
		const struct text key = text_from(rest, strlen(mark));
		const ptrdiff_t end = text_find(key, '\n');
		digest_add(load->digest, rest);
		digest_end(load->digest, hex);
		printf("%.*s\t%s", end < 0 ? 0 : (int)end, key.ptr, hex);
	} else {
		printf("?\t?");
	}
	if (octets != MAP_FAILED)
		munmap(octets, size);
}

static void take_message(struct load *load, const struct store_reply *reply)
{
	const struct store_listing_entry *entry = &load->entries[load->fetched++];

	if (reply->failure != STORE_OK) {
		load->whole = false;
		printf("unread\t%u\t%s\n", entry->uid, store_failure_name(reply->failure));
		return;
	}
	printf("message\t%u\t%u\t", entry->uid, entry->flags);
	print_keywords(load, entry->keywords);
	putchar('\t');
	print_content(load, reply->fd, reply->of.fetch.size);
	putchar('\n');
}

static void take_listing(struct load *load, const struct store_reply *reply)
{
	const struct store_select_reply *selected = &reply->of.select;
	size_t mapped;
	const struct store_listing *listing = store_listing_map(reply->fd, &mapped);

	if (!listing) {
		fputs("a listing that is none\n", stderr);
		exit(2);
	}
	snprintf(load->keywords, sizeof(load->keywords), "%.*s", TEXT_ARG(selected->keywords));
	load->whole = listing->count <= UIDS;
	load->count = load->whole ? listing->count : UIDS;
	memcpy(load->entries, listing->entry, load->count * sizeof(load->entries[0]));
	store_listing_unmap(listing, mapped);
	printf("\t%u\t%u\t%u\n", selected->uidvalidity, selected->uidnext, selected->messages);
}

static void take_mailboxes(struct load *load, struct text run)
{
	struct message_reader in = { .at = run.ptr, .left = run.len };
	struct store_mailbox mailbox;

	load->found_count = 0;
	while (in.left) {
		if (load->found_count == MAILBOXES ||
			store_mailbox_unpack_from(&in, &mailbox) != 0) {
			fputs("more mailboxes than there is room for, or one that is none\n",
				stderr);
			exit(2);
		}
		snprintf(load->found[load->found_count++], sizeof(load->found[0]), "%.*s",
			TEXT_ARG(mailbox.name));
		printf("\t%.*s", TEXT_ARG(mailbox.name));
	}
	putchar('\n');
}

static void take_names(struct text rest)
{
	struct text name;

	while (rest.len && text_split(&rest, '\n', &name))
		printf("\t%.*s", TEXT_ARG(name));
	putchar('\n');
}

static void on_reply(void *owner, struct store_reply *reply)
{
	struct load *load = owner;

	load->pending--;
	load->failure = reply->failure;
	load->away |= reply->failure == STORE_AWAY;
	if (load->away)
		return;
	if (reply->type == STORE_FETCH) {
		take_message(load, reply);
		return;
	}
	printf("got\t%s", store_failure_name(reply->failure));
	if (reply->failure != STORE_OK && reply->type != STORE_MOVE) {
		putchar('\n');
	} else if (reply->type == STORE_SELECT) {
		take_listing(load, reply);
	} else if (reply->type == STORE_MAILBOXES) {
		take_mailboxes(load, reply->of.mailboxes.mailboxes);
	} else if (reply->type == STORE_SUBSCRIPTIONS) {
		take_names(reply->of.subscriptions.names);
	} else if (reply->type == STORE_CREATE) {
		printf("\t%u\n", reply->of.create.uidvalidity);
	} else if (reply->type == STORE_COPY) {
		printf("\t%u", reply->of.copy.uidvalidity);
		print_uids(reply->of.copy.from);
		print_uids(reply->of.copy.to);
		putchar('\n');
	} else if (reply->type == STORE_MOVE) {
		printf("\t%u", reply->of.move.uidvalidity);
		print_uids(reply->of.move.from);
		print_uids(reply->of.move.to);
		putchar('\n');
	} else {
		putchar('\n');
	}
}

/* ---- requests ---- */

/* True when it was done. */
static bool wait_for(struct load *load, size_t replies)
{
	load->pending = replies;
	while (load->pending)
		event_base_loop(load->loop, EVLOOP_ONCE);
	if (load->failure == STORE_NOT_DURABLE)
		load->away = true; /* it may be there or not: the store starts again */
	return !load->away && load->failure == STORE_OK;
}

/* As many as one request may ask for. */
static void fetch_some(struct load *load)
{
	const size_t left = load->count - load->fetched;
	const size_t count = left < STORE_FETCH_LIMIT ? left : STORE_FETCH_LIMIT;
	struct buf uids = { 0 };

	for (size_t i = 0; i < count; i++)
		message_add_u32(&uids, load->entries[load->fetched + i].uid);
	store_client_fetch(
		load->client, &(struct store_fetch){ .uids = buf_text(&uids) }, on_reply, load);
	wait_for(load, count);
	buf_release(&uids);
}

static bool choose_mailbox(struct load *load, const char *mailbox)
{
	printf("ask\tselect\t%s\n", mailbox);
	load->count = load->fetched = 0;
	snprintf(load->mailbox, sizeof(load->mailbox), "%s", mailbox);
	store_client_select(load->client,
		&(struct store_select){ .mailbox = text_of(mailbox), .mode = STORE_SELECT_SHARED },
		on_reply, load);
	return wait_for(load, 1);
}

/* A listing with what the messages hold. */
static bool look_into(struct load *load, const char *mailbox)
{
	if (!choose_mailbox(load, mailbox))
		return false;
	while (load->fetched < load->count && !load->away)
		fetch_some(load);
	if (load->away)
		return false;
	printf("end\t%s\n", load->whole ? "whole" : "part");
	return true;
}

/* Some that are listed; they leave the list when they leave the mailbox. */
static void choose(struct load *load, size_t wanted, bool leave, struct buf *uids)
{
	const size_t count = wanted < load->count ? wanted : load->count;

	for (size_t i = 0; i < count; i++) {
		struct store_listing_entry *at =
			&load->entries[i + draw(load, (uint32_t)(load->count - i))];
		const struct store_listing_entry chosen = *at;
		*at = load->entries[i];
		load->entries[i] = chosen;
		message_add_u32(uids, chosen.uid);
	}
	if (!leave)
		return;
	load->count -= count;
	memmove(load->entries, load->entries + count, load->count * sizeof(load->entries[0]));
}

static void update(struct load *load, enum store_update_kind kind, size_t wanted)
{
	struct buf uids = { 0 };
	const char *keywords =
		keyword_sets[draw(load, sizeof(keyword_sets) / sizeof(keyword_sets[0]))];
	const struct store_update request = { .kind = (uint8_t)kind,
		.flags = kind == STORE_UPDATE_EXPUNGE ? 0 : draw(load, 64),
		.keywords = text_of(kind == STORE_UPDATE_EXPUNGE ? "" : keywords) };

	choose(load, wanted, kind == STORE_UPDATE_EXPUNGE, &uids);
	struct store_update asked = request;
	asked.uids = buf_text(&uids);
	printf("ask\tupdate\t%s\t%u\t%u\t%.*s", load->mailbox, asked.kind, asked.flags,
		TEXT_ARG(asked.keywords));
	print_uids(asked.uids);
	putchar('\n');
	store_client_update(load->client, &asked, on_reply, load);
	wait_for(load, 1);
	buf_release(&uids);
}

static void copy_or_move(struct load *load, bool move, const char *to, size_t wanted)
{
	struct buf uids = { 0 };

	choose(load, wanted, move, &uids);
	printf("ask\t%s\t%s\t%s", move ? "move" : "copy", load->mailbox, to);
	print_uids(buf_text(&uids));
	putchar('\n');
	if (move)
		store_client_move(load->client,
			&(struct store_move){ .mailbox = text_of(to), .uids = buf_text(&uids) },
			on_reply, load);
	else
		store_client_copy(load->client,
			&(struct store_copy){ .mailbox = text_of(to), .uids = buf_text(&uids) },
			on_reply, load);
	wait_for(load, 1);
	buf_release(&uids);
}

static const char *any_name(struct load *load)
{
	return load->names[draw(load, NAMES)];
}

static void visit(struct load *load)
{
	if (!look_into(load, any_name(load)) || !load->whole)
		return;
	/* More than the store copies or deletes in one piece. */
	if (load->count > MANY && draw(load, 2) == 0)
		copy_or_move(load, false, any_name(load), load->count);
	if (load->count > MANY && !load->away)
		update(load, STORE_UPDATE_EXPUNGE, load->count - FEW);
	for (unsigned steps = draw(load, 5); steps && load->count && !load->away; steps--) {
		const uint32_t kind = draw(load, 8);
		if (kind < 3)
			update(load, (enum store_update_kind)kind, 1 + draw(load, 6));
		else if (kind == 3)
			update(load, STORE_UPDATE_EXPUNGE, 1 + draw(load, 3));
		else
			copy_or_move(load, kind < 6, any_name(load), 1 + draw(load, 6));
	}
}

static void create(struct load *load, const char *name)
{
	printf("ask\tcreate\t%s\n", name);
	store_client_create(
		load->client, &(struct store_create){ .mailbox = text_of(name) }, on_reply, load);
	wait_for(load, 1);
}

/* One that has hundreds of messages, or gets them: twice as many each time. */
static void visit_large(struct load *load)
{
	const char *name = load->names[2 + draw(load, LARGE)];
	const char *other = load->names[2 + draw(load, LARGE)];
	const uint32_t kind = draw(load, 8);

	if (!choose_mailbox(load, name)) {
		if (load->failure == STORE_NO_SUCH_MAILBOX)
			create(load, name);
		return;
	}
	/* The messages are known: nothing arrives here by itself. */
	printf("end\tpart\n");
	if (load->count == 0) {
		if (look_into(load, "INBOX") && load->whole && load->count)
			copy_or_move(load, false, name, FEW);
	} else if (load->count < HUNDREDS) {
		copy_or_move(load, false, name, load->count);
	} else if (load->count > ENOUGH || kind == 0) {
		update(load, STORE_UPDATE_EXPUNGE, load->count - FEW);
	} else if (kind == 1) {
		update(load, (enum store_update_kind)draw(load, 3), load->count);
	} else if (kind == 2) {
		copy_or_move(load, false, "INBOX", MANY + FEW);
	} else {
		copy_or_move(load, kind < 5, other, load->count);
	}
}

static void rename_one(struct load *load)
{
	const char *from = any_name(load);
	const char *to = load->names[load->first + draw(load, NAMES - load->first)];

	printf("ask\trename\t%s\t%s\n", from, to);
	store_client_rename(load->client,
		&(struct store_rename){ .mailbox = text_of(from), .to = text_of(to) }, on_reply,
		load);
	if (!wait_for(load, 1) || strcmp(from, "INBOX") != 0)
		return;
	/* What INBOX gave away is looked at before anything else happens to it. */
	for (unsigned tries = 0; tries < TRIES && !load->away; tries++) {
		if (look_into(load, to) && load->whole)
			return;
	}
}

static void reshape(struct load *load)
{
	const char *name = any_name(load);
	const uint32_t kind = draw(load, 8);

	if (kind < 3) {
		create(load, name);
	} else if (kind < 5) {
		const bool on = draw(load, 3) != 0;
		printf("ask\tsubscribe\t%s\t%d\n", name, on);
		store_client_subscribe(load->client,
			&(struct store_subscribe){ .mailbox = text_of(name), .on = on }, on_reply,
			load);
		wait_for(load, 1);
	} else if (kind == 5) {
		printf("ask\tdelete\t%s\n", name);
		store_client_delete(load->client,
			&(struct store_delete){ .mailbox = text_of(name) }, on_reply, load);
		wait_for(load, 1);
	} else {
		rename_one(load);
	}
}

/* ---- all of it ---- */

static bool log_in(struct load *load, const char *user, const char *password)
{
	printf("ask\tlogin\n");
	store_client_login(load->client,
		&(struct store_login){ .user = text_of(user),
			.password = text_of(password),
			.peer = TEXT("127.0.0.1") },
		on_reply, load);
	return wait_for(load, 1);
}

static bool show(struct load *load)
{
	printf("ask\tmailboxes\n");
	store_client_mailboxes(load->client, &(struct store_mailboxes){ 0 }, on_reply, load);
	if (!wait_for(load, 1))
		return false;
	for (size_t i = 0; i < load->found_count; i++) {
		if (!look_into(load, load->found[i]) || !load->whole)
			return false;
	}
	printf("ask\tsubscriptions\n");
	store_client_subscriptions(
		load->client, &(struct store_subscriptions){ 0 }, on_reply, load);
	return wait_for(load, 1);
}

static void on_input(evutil_socket_t fd, short what, void *owner)
{
	struct load *load = owner;
	char octets[64];

	(void)what;
	if (read(fd, octets, sizeof(octets)) <= 0)
		load->stopping = true;
}

static void work(struct load *load)
{
	struct event *input =
		event_new(load->loop, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, load);

	event_add(input, NULL);
	while (!load->stopping && !load->away) {
		if (load->large && draw(load, 8) != 0)
			visit_large(load);
		else if (draw(load, 3) == 0)
			reshape(load);
		else
			visit(load);
	}
	event_free(input);
}

static void name_mailboxes(struct load *load, const char *prefix)
{
	for (size_t i = 0; i < NAMES; i++)
		snprintf(load->names[i], sizeof(load->names[i]), "%s%s", i < 2 ? "" : prefix,
			i < 2 ? "INBOX" : endings[i - 2]);
	load->first = prefix[0] ? 2 : 0;
}

int main(int argc, char **argv)
{
	static const struct store_client_handlers handlers = { 0 };
	static struct load load;
	int status = 0;

	if (argc != 4 && argc != 6 && (argc != 7 || strcmp(argv[6], "large") != 0))
		return 64;
	log_open("storeload", LOG_LEVEL_ERROR);
	setvbuf(stdout, NULL, _IOLBF, 0);
	load.random = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
	load.large = argc == 7;
	name_mailboxes(&load, argc > 4 ? argv[5] : "");
	load.loop = event_base_new();
	load.digest = digest_new();
	load.client = store_client_new(load.loop, argv[1], &handlers, &load);
	if (!log_in(&load, argv[2], argv[3]))
		status = 1;
	else if (argc > 4)
		work(&load);
	else
		status = !show(&load);
	store_client_free(&load.client);
	digest_free(&load.digest);
	event_base_free(load.loop);
	return status;
}

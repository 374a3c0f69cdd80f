#include "smtp-in/envelope.h"

#include "base/arena.h"
#include "mail/command.h"
#include "mail/xtext.h"
#include "smtp-in/session.h"
#include "smtp-in/transaction.h"

static struct reply reply_with(struct reply reply, struct text text)
{
	reply.text = text;
	return reply;
}

static bool take_size(struct transaction *transaction, struct text value, struct reply *fault)
{
	const uint64_t limit = worker_settings(transaction->session->worker)->message_size;

	if (value.len > 20 || text_to_number(value, UINT64_MAX, &transaction->envelope.size) != 0) {
		*fault = REPLY(501, 5, 5, 4, "SIZE is a number of octets");
		return false;
	}
	if (transaction->envelope.size > limit) {
		*fault = reply_with(REPLY(552, 5, 3, 4, ""),
			text_format(transaction->arena, "Message over %llu octets",
				(unsigned long long)limit));
		return false;
	}
	return true;
}

static bool take_body(struct transaction *transaction, struct text value, struct reply *fault)
{
	transaction->envelope.eight_bit = text_equal_nocase(value, TEXT("8BITMIME"));
	if (transaction->envelope.eight_bit || text_equal_nocase(value, TEXT("7BIT")))
		return true;
	*fault = REPLY(501, 5, 5, 4, "BODY is 7BIT or 8BITMIME");
	return false;
}

/* RFC 6531 section 3.4: it stands alone. */
static bool take_utf8(struct transaction *transaction, struct text value, struct reply *fault)
{
	transaction->envelope.utf8 = true;
	if (value.ptr == NULL)
		return true;
	*fault = REPLY(501, 5, 5, 4, "SMTPUTF8 has no value");
	return false;
}

/*
 * RFC 4954 section 5: who is said to have submitted the message first. Whoever logs in here is that
 * person, so it is looked at for its form only.
 */
static bool take_auth(struct transaction *transaction, struct text value, struct reply *fault)
{
	struct address address;
	struct buf who = { 0 };
	bool good = value.len && xtext_decode(value, &who);

	good = good && (text_equal(buf_text(&who), TEXT("<>")) ||
			       address_parse(transaction->arena, buf_text(&who), true, &address) ==
				       ADDRESS_OK);
	buf_release(&who);
	if (!good)
		*fault = REPLY(501, 5, 5, 4, "AUTH is an address in xtext, or <>");
	return good;
}

static bool take_prdr(struct transaction *transaction, struct text value, struct reply *fault)
{
	transaction->prdr = true;
	if (value.ptr == NULL)
		return true;
	*fault = REPLY(501, 5, 5, 4, "PRDR has no value");
	return false;
}

static const struct parameter {
	struct text keyword;
	bool (*take)(struct transaction *transaction, struct text value, struct reply *fault);
	bool submission; /* there only */
} mail_parameters[] = {
	{ { "SIZE", 4 }, take_size, false },
	{ { "BODY", 4 }, take_body, false },
	{ { "SMTPUTF8", 8 }, take_utf8, false },
	{ { "AUTH", 4 }, take_auth, true },
	{ { "PRDR", 4 }, take_prdr, false },
};

/* DSN's parameters, where they are offered; to be told as a fault or not at all. */
static bool is_dsn(const struct transaction *transaction, enum dsn_result result,
	const char *sentence, struct reply *fault)
{
	if (result == DSN_FOREIGN || !lmtp_pool_offers_dsn(transaction->session->worker->pool))
		return false;
	fault->code = 0;
	if (result == DSN_FAULT)
		*fault = reply_with(REPLY(501, 5, 5, 4, ""), text_of(sentence));
	return true;
}

static bool take_mail_parameter(
	struct transaction *transaction, const struct command_parameter *given, struct reply *fault)
{
	const bool submission = transaction->session->listener->submission;
	const char *sentence = NULL;

	for (size_t i = 0; i < sizeof(mail_parameters) / sizeof(mail_parameters[0]); i++) {
		if (text_equal_nocase(given->keyword, mail_parameters[i].keyword) &&
			(submission || !mail_parameters[i].submission))
			return mail_parameters[i].take(transaction, given->value, fault);
	}
	const enum dsn_result dsn =
		dsn_take_mail(transaction->arena, given, &transaction->envelope.dsn, &sentence);
	if (is_dsn(transaction, dsn, sentence, fault))
		return fault->code == 0;
	*fault = reply_with(REPLY(555, 5, 5, 4, ""),
		text_format(transaction->arena, "MAIL has no parameter %.*s",
			TEXT_ARG(given->keyword)));
	return false;
}

static struct reply address_reply(enum address_fault fault, unsigned char detail)
{
	if (fault == ADDRESS_8BIT)
		return reply_with(REPLY(553, 5, 6, 7, ""), text_of(address_fault_text(fault)));
	return reply_with(REPLY(501, 5, 1, detail, ""), text_of(address_fault_text(fault)));
}

/* detail: of the enhanced code 5.1.x for an address that is none. False: see *fault. */
static bool parse_path(struct transaction *transaction, struct text argument, struct text keyword,
	unsigned char detail, struct command_path *path, struct reply *fault)
{
	const bool utf8 = transaction->envelope.utf8;
	enum address_fault address;

	switch (command_parse_path(transaction->arena, argument, keyword, utf8, path, &address)) {
	case COMMAND_OK:
		return true;
	case COMMAND_SYNTAX:
		*fault = reply_with(REPLY(501, 5, 5, 4, ""),
			text_format(transaction->arena, "Say %.*s:<address>, then parameters",
				TEXT_ARG(keyword)));
		return false;
	case COMMAND_ADDRESS:
		*fault = address_reply(address, detail);
		return false;
	case COMMAND_TOO_MANY_PARAMETERS:
		*fault = REPLY(501, 5, 5, 4, "Too many parameters");
		return false;
	case COMMAND_DUPLICATE_PARAMETER:
		*fault = REPLY(501, 5, 5, 4, "A parameter is given twice");
		return false;
	}
	return false;
}

bool envelope_take_mail(struct transaction *transaction, struct text argument, struct reply *fault)
{
	struct command_path path;

	transaction->envelope.utf8 = command_mentions(argument, TEXT("SMTPUTF8"));
	if (!parse_path(transaction, argument, TEXT("FROM"), 7, &path, fault))
		return false;
	if (path.address.local.len && path.address.domain.len == 0) {
		*fault = REPLY(501, 5, 1, 7, "A sender has a domain");
		return false;
	}
	transaction->envelope.sender = address_print(transaction->arena, &path.address);
	transaction->envelope.id = (struct text){ .ptr = transaction->id.string, .len = ID_LENGTH };
	for (size_t i = 0; i < path.parameters; i++) {
		if (!take_mail_parameter(transaction, &path.parameter[i], fault))
			return false;
	}
	return true;
}

static bool take_recipient_parameter(struct transaction *transaction,
	const struct command_parameter *given, struct dsn_recipient *to, struct reply *fault)
{
	const char *sentence = NULL;
	const enum dsn_result dsn = dsn_take_recipient(
		transaction->arena, given, transaction->envelope.utf8, to, &sentence);

	if (is_dsn(transaction, dsn, sentence, fault))
		return fault->code == 0;
	*fault = reply_with(REPLY(555, 5, 5, 4, ""),
		text_format(transaction->arena, "RCPT has no parameter %.*s",
			TEXT_ARG(given->keyword)));
	return false;
}

bool envelope_take_recipient(struct transaction *transaction, struct text argument,
	struct envelope_recipient *recipient, struct reply *fault)
{
	struct command_path path;

	if (transaction->recipients >= worker_settings(transaction->session->worker)->recipients) {
		*fault = REPLY(452, 4, 5, 3, "Too many recipients");
		return false;
	}
	if (!parse_path(transaction, argument, TEXT("TO"), 3, &path, fault))
		return false;
	if (path.address.local.len == 0) {
		*fault = REPLY(501, 5, 1, 3, "A recipient has a name");
		return false;
	}
	*recipient = (struct envelope_recipient){ .address = path.address };
	for (size_t i = 0; i < path.parameters; i++) {
		if (!take_recipient_parameter(
			    transaction, &path.parameter[i], &recipient->dsn, fault))
			return false;
	}
	return true;
}

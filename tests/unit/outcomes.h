/*
 * Every way in which the store can fail, and what people and programs hear of it. One row for each of
 * enum store_failure, in its order: a new value without a row breaks the tests that walk the table.
 *
 *	tests/unit/mda/test_session.c       the replies by LMTP, in whole sessions
 *	tests/unit/mda/test_verdict.c       the exit status of mda -d
 *	tests/unit/smtp-in/test_session.c   the replies by SMTP: the same codes, passed on, in whole sessions
 *
 * "Met" says which of them a delivery meets on a real host, and the test in tests/flow/26-failures.py
 * that makes it so and shows that nothing is lost or doubled; or why no delivery can meet it.
 */
#ifndef TESTS_UNIT_OUTCOMES_H
#define TESTS_UNIT_OUTCOMES_H

#include <sysexits.h>

#include "store/failure.h"

struct outcome {
	enum store_failure failure;
	const char *rcpt; /* the reply to RCPT, where the store says it of an address */
	int rcpt_status;
	const char *end; /* the reply after the message */
	int end_status;
};

static const struct outcome outcomes[] = {
	/* Met: by most. */
	{ STORE_OK, "250 2.1.5", EX_OK, "250 2.0.0", EX_OK },
	/* Met: test_no_such_user; after RCPT, test_the_user_leaves_meanwhile. */
	{ STORE_NO_SUCH_USER, "550 5.1.1", EX_NOUSER, "550 5.1.1", EX_NOUSER },
	/* Not met: a delivery makes the mailbox that is not there (test_the_mailbox_is_not_there). */
	{ STORE_NO_SUCH_MAILBOX, "451 4.2.0", EX_TEMPFAIL, "451 4.2.0", EX_TEMPFAIL },
	/* Not met: said of messages that are read, never of one that comes. */
	{ STORE_NO_SUCH_MESSAGE, "451 4.3.0", EX_TEMPFAIL, "451 4.3.0", EX_TEMPFAIL },
	/* Not met: mail needs no login at the store. */
	{ STORE_BAD_LOGIN, "451 4.3.0", EX_TEMPFAIL, "451 4.3.0", EX_TEMPFAIL },
	/*
	 * Not met of a whole delivery: the store answers STORE_OK and says it of each recipient who had the
	 * message before; that is 250 "already here" (test_it_came_before).
	 */
	{ STORE_ALREADY_EXISTS, "451 4.3.0", EX_TEMPFAIL, "451 4.3.0", EX_TEMPFAIL },
	/* Met: test_over_quota, test_one_of_several_is_full. */
	{ STORE_OVER_QUOTA, "452 4.2.2", EX_TEMPFAIL, "452 4.2.2", EX_TEMPFAIL },
	/* Met: test_too_large. At RCPT: an alias of more mailboxes than fit a message. */
	{ STORE_TOO_LARGE, "550 5.3.5", EX_UNAVAILABLE, "552 5.3.4", EX_UNAVAILABLE },
	/* Not met: mail comes to a mailbox that a POP3 session has locked (test_the_mailbox_is_locked). */
	{ STORE_LOCKED, "450 4.2.0", EX_TEMPFAIL, "450 4.2.0", EX_TEMPFAIL },
	/* Met: test_the_disk_is_full. */
	{ STORE_NO_SPACE, "452 4.3.1", EX_TEMPFAIL, "452 4.3.1", EX_TEMPFAIL },
	/* Met: test_a_flush_fails; and tests/crash/failing.c fails every call of the store in turn. */
	{ STORE_NOT_DURABLE, "451 4.3.0", EX_TEMPFAIL, "451 4.3.0", EX_TEMPFAIL },
	/* Met: test_a_mailbox_is_damaged. */
	{ STORE_DAMAGED, "451 4.3.0", EX_TEMPFAIL, "451 4.3.0", EX_TEMPFAIL },
	/* Met: test_an_import_is_not_finished. */
	{ STORE_BUSY, "451 4.3.2", EX_TEMPFAIL, "451 4.3.2", EX_TEMPFAIL },
	/* Met at RCPT: test_not_our_domain. Not after the message: the mda has the right to deliver. */
	{ STORE_REFUSED, "550 5.7.1", EX_NOPERM, "451 4.3.5", EX_TEMPFAIL },
	/*
	 * Not met: aliases that lead in a circle are refused when they are made, and the mda asks for
	 * nothing that makes no sense.
	 */
	{ STORE_INVALID, "550 5.4.6", EX_UNAVAILABLE, "451 4.3.0", EX_TEMPFAIL },
	/* Met: test_the_store_dies_with_the_message. */
	{ STORE_AWAY, "451 4.3.0", EX_TEMPFAIL, "451 4.3.0", EX_TEMPFAIL },
};

_Static_assert(sizeof(outcomes) / sizeof(outcomes[0]) == STORE_FAILURES, "a row for each failure");

#endif

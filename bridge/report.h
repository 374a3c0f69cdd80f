/*
 * What an account's process tells of itself, one datagram each (SOCK_SEQPACKET): to the role's own
 * process, or to the command that started it. Nothing is said to it; when the other end closes, it ends.
 */
#ifndef BRIDGE_REPORT_H
#define BRIDGE_REPORT_H

#include "base/message.h"
#include "bridge/fault.h"

enum report_state {
	REPORT_CONNECTING,
	REPORT_PULLING,
	REPORT_WAITING, /* for the server to tell of new mail */
	REPORT_TOLD,    /* sentence is for the one who asked for a test */
	REPORT_ENDED,   /* the last one; fault says how */
};

/* What is not as wished and no fault: one sentence of each kind, for as long as it holds. */
enum report_notice {
	REPORT_NOTICE_FOLDERS, /* a folder is missing, or has a name that cannot be one here */
	REPORT_NOTICE_ANEW,    /* the server made a folder anew; told for a day */
	REPORT_NOTICE_MARKED,  /* what is here is marked as deleted there, and no more */
	REPORT_NOTICE_NO_UIDL,
	REPORT_NOTICE_STAYS, /* messages stay there that this host does not get or take */
	REPORT_NOTICES,
};

enum {
	REPORT_HINT_LIMIT = 64 << 10,
	REPORT_NOTICES_LIMIT = REPORT_NOTICES * (FAULT_SENTENCE + 1),
	REPORT_LIMIT = REPORT_HINT_LIMIT + REPORT_NOTICES_LIMIT + 4096,
};

/*
 * Counts are of this session. total and done: of the pull that is under way. notices: a line for each kind,
 * in their order, empty for what does not hold. hint: what the next session of the account may be told to
 * save work, in words of its own; nothing is lost when it is.
 */
#define BRIDGE_REPORT_FIELDS(F) \
	F(u8, state, REPORT_ENDED) \
	F(u8, fault, FAULT_KINDS - 1) \
	F(u64, pulled, 0) \
	F(u64, octets, 0) \
	F(u64, known, 0) \
	F(u64, refused, 0) \
	F(u64, deleted, 0) \
	F(u64, total, 0) \
	F(u64, done, 0) \
	F(text, folder, 600) \
	F(text, sentence, FAULT_SENTENCE) \
	F(text, notices, REPORT_NOTICES_LIMIT) F(text, hint, REPORT_HINT_LIMIT)

MESSAGE_DECLARE(bridge_report, BRIDGE_REPORT_FIELDS)

#endif

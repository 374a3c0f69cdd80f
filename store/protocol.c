#include "store/protocol.h"

/* clang-format off: lists of macros */
#define STORE_DEFINE_(name, NAME, who, needs) \
	MESSAGE_DEFINE(store_##name, STORE_##NAME##_FIELDS) \
	MESSAGE_DEFINE(store_##name##_reply, STORE_##NAME##_REPLY_FIELDS)
#define STORE_DEFINE_NOTICE_(name, NAME, to) MESSAGE_DEFINE(store_##name, STORE_##NAME##_FIELDS)
STORE_REQUESTS(STORE_DEFINE_)
STORE_NOTICES(STORE_DEFINE_NOTICE_)
MESSAGE_DEFINE(store_recipient, STORE_RECIPIENT_FIELDS)
MESSAGE_DEFINE(store_once_key, STORE_ONCE_KEY_FIELDS)
MESSAGE_DEFINE(store_mailbox, STORE_MAILBOX_FIELDS)
MESSAGE_DEFINE(store_user, STORE_USER_FIELDS)
MESSAGE_DEFINE(store_target, STORE_TARGET_FIELDS)
MESSAGE_DEFINE(store_alias, STORE_ALIAS_FIELDS)
MESSAGE_DEFINE(store_member, STORE_MEMBER_FIELDS)
MESSAGE_DEFINE(store_domain, STORE_DOMAIN_FIELDS)
/* clang-format on */

#define STORE_NAME_(name, NAME, ...) [STORE_##NAME] = #NAME,

const char *store_message_name(enum store_message type)
{
	static const char *const names[STORE_MESSAGES] = {
		[STORE_MESSAGE_NONE] = "NONE",
		/* clang-format off */
		STORE_REQUESTS(STORE_NAME_)
		STORE_NOTICES(STORE_NAME_)
		/* clang-format on */
	};

	return type < STORE_MESSAGES ? names[type] : "UNKNOWN";
}

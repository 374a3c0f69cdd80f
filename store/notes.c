#include "store/notes.h"

#include "store/mailbox.h"
#include "store/users.h"

static int collect(void *owner, struct text key, struct text value)
{
	message_add_text(owner, key);
	message_add_text(owner, value);
	return 0;
}

int notes_resume(struct engine *engine, enum env_table table, notes_resume_one *one)
{
	struct buf rows = { 0 };
	int error = env_scan(engine->env, table, TEXT(""), collect, &rows);
	struct message_reader in = { .at = buf_text(&rows).ptr, .left = buf_length(&rows) };

	while (in.left && error == 0) {
		const struct text key = message_get_text(&in, INDEX_MESSAGE_KEY);
		error = one(engine, key, message_get_text(&in, UINT32_MAX));
	}
	buf_release(&rows);
	return error;
}

struct mailbox *notes_mailbox(struct engine *engine, struct index_mailbox_id id)
{
	struct user *user = users_with_number(engine, id.user);
	struct account *account;

	if (!user || account_open(engine, user, &account) != STORE_OK)
		return NULL;
	return account_find_number(account, id.mailbox);
}

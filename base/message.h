/*
 * Messages between our own processes, declared once.
 *
 * A message is a list of fields, each KIND, name, LIMIT:
 *
 *	#define STORE_LOGIN_FIELDS(F) F(text, user, 320) F(text, password, 1024) F(u32, flags, 0)
 *	MESSAGE_DECLARE(store_login, STORE_LOGIN_FIELDS)     in a header: struct and two prototypes
 *	MESSAGE_DEFINE(store_login, STORE_LOGIN_FIELDS)      in one .c file: pack and unpack
 *
 * Kinds: u8, u32, u64 (at most LIMIT, unless that is 0), i64 (little-endian) and text (u32 length +
 * octets, at most LIMIT; an unpacked text points into the frame). Unpacking is strict: every field
 * whole and within its limit, and nothing left over. The store never trusts a length from a peer.
 *
 * The same list can have a short form (MESSAGE_DECLARE_SHORT, MESSAGE_DEFINE_SHORT), for what is kept in
 * large numbers: u32, u64 and lengths take seven bits an octet, the lowest first, the highest bit set in all
 * but the last octet, which is not zero unless it is the only one; i64 likewise, 0 -1 1 -2 as 0 1 2 3.
 */
#ifndef BASE_MESSAGE_H
#define BASE_MESSAGE_H

#include "base/buf.h"
#include "base/text.h"

struct message_reader {
	const char *at;
	size_t left;
	int bad; /* set once, never cleared */
};

void message_add_u8(struct buf *out, uint8_t value);
void message_add_u32(struct buf *out, uint32_t value);
void message_add_u64(struct buf *out, uint64_t value);
void message_add_i64(struct buf *out, int64_t value);
void message_add_text(struct buf *out, struct text value);
uint8_t message_get_u8(struct message_reader *in, size_t limit);
uint32_t message_get_u32(struct message_reader *in, size_t limit);
uint64_t message_get_u64(struct message_reader *in, size_t limit);
int64_t message_get_i64(struct message_reader *in, size_t limit);
struct text message_get_text(struct message_reader *in, size_t limit);

void message_add_short_u8(struct buf *out, uint8_t value);
void message_add_short_u32(struct buf *out, uint32_t value);
void message_add_short_u64(struct buf *out, uint64_t value);
void message_add_short_i64(struct buf *out, int64_t value);
void message_add_short_text(struct buf *out, struct text value);
uint8_t message_get_short_u8(struct message_reader *in, size_t limit);
uint32_t message_get_short_u32(struct message_reader *in, size_t limit);
uint64_t message_get_short_u64(struct message_reader *in, size_t limit);
int64_t message_get_short_i64(struct message_reader *in, size_t limit);
struct text message_get_short_text(struct message_reader *in, size_t limit);

#define MESSAGE_TYPE_u8 uint8_t
#define MESSAGE_TYPE_u32 uint32_t
#define MESSAGE_TYPE_u64 uint64_t
#define MESSAGE_TYPE_i64 int64_t
#define MESSAGE_TYPE_text struct text

#define MESSAGE_FIELD_(kind, name, limit) MESSAGE_TYPE_##kind name;
#define MESSAGE_PACK_(kind, name, limit) message_add_##kind(out, message->name);
#define MESSAGE_UNPACK_(kind, name, limit) message->name = message_get_##kind(in, limit);
#define MESSAGE_PACK_SHORT_(kind, name, limit) message_add_short_##kind(out, message->name);
#define MESSAGE_UNPACK_SHORT_(kind, name, limit) \
	message->name = message_get_short_##kind(&in, limit);

/* _unpack_from: the next record of a run, -1 when it is not whole. _unpack: exactly this payload. */
#define MESSAGE_DECLARE(tag, FIELDS) \
	struct tag { \
		FIELDS(MESSAGE_FIELD_) \
	}; \
	void tag##_pack(struct buf *out, const struct tag *message); \
	int tag##_unpack_from(struct message_reader *in, struct tag *message); \
	int tag##_unpack(struct text payload, struct tag *message);

#define MESSAGE_DEFINE(tag, FIELDS) \
	void tag##_pack(struct buf *out, const struct tag *message) \
	{ \
		(void)out, (void)message; \
		FIELDS(MESSAGE_PACK_) \
	} \
	int tag##_unpack_from(struct message_reader *in, struct tag *message) \
	{ \
		(void)message; \
		FIELDS(MESSAGE_UNPACK_) \
		return in->bad ? -1 : 0; \
	} \
	int tag##_unpack(struct text payload, struct tag *message) \
	{ \
		struct message_reader in = { .at = payload.ptr, .left = payload.len }; \
		return tag##_unpack_from(&in, message) == 0 && in.left == 0 ? 0 : -1; \
	}

#define MESSAGE_DECLARE_SHORT(tag) \
	void tag##_pack_short(struct buf *out, const struct tag *message); \
	int tag##_unpack_short(struct text payload, struct tag *message);

#define MESSAGE_DEFINE_SHORT(tag, FIELDS) \
	void tag##_pack_short(struct buf *out, const struct tag *message) \
	{ \
		FIELDS(MESSAGE_PACK_SHORT_) \
	} \
	int tag##_unpack_short(struct text payload, struct tag *message) \
	{ \
		struct message_reader in = { .at = payload.ptr, .left = payload.len }; \
		FIELDS(MESSAGE_UNPACK_SHORT_) \
		return !in.bad && in.left == 0 ? 0 : -1; \
	}

#endif

#include "base/shun.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum {
	WORDS = 4, /* of an address */
	WORD_BITS = 32,
	/* What a filter on a TCP socket sees begins with the header of TCP; that of IP is at SKF_NET_OFF. */
	FLAGS_AT = 13,
	FLAG_SYN = 0x02,
	FLAG_ACK = 0x10,
	IPV4_SOURCE_AT = 12,
	IPV6_SOURCE_AT = 8,
	IPV4_BITS = 96, /* before those of the address itself */
	/* Words of the program's memory, and what the first may hold. */
	VERSION = 0,
	SOURCE = 1,
	IPV4 = 0x40,
	IPV6 = 0x60,
	PREFIX_ROOM = 2 + 3 * WORDS + 1,
	ROOM = 32 + SHUN_MOST * PREFIX_ROOM,
};

static const uint32_t HEARD = UINT32_MAX, NOT_HEARD = 0; /* octets of the packet that are kept */

struct program {
	struct sock_filter code[ROOM];
	unsigned short length;
};

static void add(struct program *program, unsigned code, uint32_t operand)
{
	program->code[program->length++] =
		(struct sock_filter){ .code = (unsigned short)code, .k = operand };
}

/* Past so many of the instructions that follow, when it is equal and when it is not. */
static void add_test(
	struct program *program, uint32_t operand, unsigned char equal, unsigned char other)
{
	add(program, BPF_JMP | BPF_JEQ | BPF_K, operand);
	program->code[program->length - 1].jt = equal;
	program->code[program->length - 1].jf = other;
}

static void add_load(struct program *program, unsigned size, uint32_t at)
{
	add(program, BPF_LD | size | BPF_ABS, at);
}

/*
 * Its version in memory, and behind it the source as net_address has it. All words are set: the kernel
 * refuses a program that may read one that was not.
 */
static void add_source(struct program *program)
{
	const uint32_t net = (uint32_t)SKF_NET_OFF;

	add_load(program, BPF_B, net);
	add(program, BPF_ALU | BPF_AND | BPF_K, 0xf0);
	add(program, BPF_ST, VERSION);
	add_test(program, IPV4, 0, 7);
	add(program, BPF_LD | BPF_IMM, 0);
	add(program, BPF_ST, SOURCE);
	add(program, BPF_ST, SOURCE + 1);
	add(program, BPF_LD | BPF_IMM, 0xffff);
	add(program, BPF_ST, SOURCE + 2);
	add_load(program, BPF_W, net + IPV4_SOURCE_AT);
	add(program, BPF_JMP | BPF_JA, 2 * WORDS - 1); /* where the last word is stored */
	for (uint32_t i = 0; i < WORDS; i++) {
		add_load(program, BPF_W, net + IPV6_SOURCE_AT + 4 * i);
		add(program, BPF_ST, SOURCE + i);
	}
}

static uint32_t mask_of(unsigned bits, unsigned word)
{
	const unsigned begin = word * WORD_BITS;

	if (bits <= begin)
		return 0;
	return bits - begin >= WORD_BITS ? UINT32_MAX : ~(UINT32_MAX >> (bits - begin));
}

/* A short prefix of IPv6 may hold ::ffff:0:0/96, too, and yet means no IPv4 client. */
static uint32_t version_of(const struct net_prefix *prefix)
{
	return net_address_is_ipv4(&prefix->address) && prefix->bits >= IPV4_BITS ? IPV4 : IPV6;
}

/* Last word first: that is where IPv4 clients differ. */
static void add_prefix(struct program *program, const struct net_prefix *prefix)
{
	const unsigned short begin = program->length;
	uint32_t words[WORDS];

	memcpy(words, prefix->address.octets, sizeof(words));
	add(program, BPF_LD | BPF_MEM, VERSION);
	add_test(program, version_of(prefix), 0, 0);
	for (unsigned i = WORDS; i-- > 0;) {
		const uint32_t mask = mask_of(prefix->bits, i);
		if (mask == 0)
			continue;
		add(program, BPF_LD | BPF_MEM, SOURCE + i);
		if (mask != UINT32_MAX)
			add(program, BPF_ALU | BPF_AND | BPF_K, mask);
		add_test(program, ntohl(words[i]) & mask, 0, 0);
	}
	add(program, BPF_RET | BPF_K, NOT_HEARD);
	for (unsigned short i = begin; i < program->length; i++) {
		if (BPF_CLASS(program->code[i].code) == BPF_JMP)
			program->code[i].jf = (unsigned char)(program->length - 1 - i);
	}
}

static void compile(struct program *program, const struct net_prefix *list, size_t count)
{
	program->length = 0;
	add_load(program, BPF_B, FLAGS_AT);
	add(program, BPF_ALU | BPF_AND | BPF_K, FLAG_SYN | FLAG_ACK);
	add_test(program, FLAG_SYN, 1, 0);
	add(program, BPF_RET | BPF_K, HEARD);
	add_source(program);
	for (size_t i = 0; i < count; i++)
		add_prefix(program, &list[i]);
	add(program, BPF_RET | BPF_K, HEARD);
}

int shun_attach(int fd, const struct net_prefix *list, size_t count)
{
	struct program program;
	struct sock_fprog filter = { .filter = program.code };

	if (count == 0) {
		shun_release(fd);
		return 0;
	}
	errno = EINVAL;
	if (count > SHUN_MOST)
		return -1;
	compile(&program, list, count);
	filter.len = program.length;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

/* It fails where there is none. */
void shun_release(int fd)
{
	setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){ 0 }, sizeof(int));
}

#include "base/proxy.h"

#include <stdio.h>
#include <string.h>

enum {
	LINE_LIMIT = 107, /* of version 1, CRLF included */
	FIXED = 16,       /* octets of version 2 before the addresses */
	SIGNATURE = 12,
	TLV_HEAD = 3,
};

static const char signature[SIGNATURE + 1] = "\r\n\r\n\0\r\nQUIT\n";

/* ---- what a person sets ---- */

int proxy_verify(const struct proxy_settings *settings, char *error, size_t error_size)
{
	const char *bad = net_list_check(&settings->from);

	if (!bad)
		return 0;
	snprintf(error, error_size,
		"proxy-from \"%s\": that is no address and no prefix; write 192.0.2.1, "
		"192.0.2.0/24 "
		"or 2001:db8::/64, with zeros behind the prefix",
		bad);
	return -1;
}

/* ---- version 1: a line ---- */

static bool is_port(struct text word)
{
	uint64_t port;

	return text_to_number(word, UINT16_MAX, &port) == 0 &&
	       (word.len == 1 || (word.len && word.ptr[0] != '0'));
}

static bool take_word(struct text *rest, struct text *word)
{
	return rest->ptr && text_split(rest, ' ', word) && word->len > 0;
}

/* What stands behind "PROXY TCP4 " or "PROXY TCP6 ": two addresses and two ports. */
static int read_pair(struct text rest, bool ipv4, struct proxy_header *header)
{
	struct net_address destination;
	struct text word[4];

	for (int i = 0; i < 4; i++) {
		if (!take_word(&rest, &word[i]))
			return -1;
	}
	if (rest.ptr || net_address_parse(word[0], &header->client) != 0 ||
		net_address_parse(word[1], &destination) != 0 || !is_port(word[2]) ||
		!is_port(word[3]))
		return -1;
	/* By its form: ::ffff:192.0.2.1 is one of TCP6. */
	if ((text_find(word[0], ':') < 0) != ipv4 || (text_find(word[1], ':') < 0) != ipv4)
		return -1;
	header->has_client = true;
	return 1;
}

static int read_line(struct text line, struct proxy_header *header)
{
	const struct text rest = text_from(line, 6);

	if (text_begins(rest, TEXT("TCP4 ")))
		return read_pair(text_from(rest, 5), true, header);
	if (text_begins(rest, TEXT("TCP6 ")))
		return read_pair(text_from(rest, 5), false, header);
	return text_equal(rest, TEXT("UNKNOWN")) || text_begins(rest, TEXT("UNKNOWN ")) ? 1 : -1;
}

static int parse_line(struct text in, struct proxy_header *header, size_t *used)
{
	const ptrdiff_t end = text_find(text_head(in, LINE_LIMIT), '\n');

	if (end < 0)
		return in.len < LINE_LIMIT ? 0 : -1;
	if (end < 6 || in.ptr[end - 1] != '\r')
		return -1;
	*used = (size_t)end + 1;
	return read_line(text_head(in, (size_t)end - 1), header);
}

/* ---- version 2: octets ---- */

static size_t number_at(struct text in, size_t at)
{
	const unsigned char *octets = (const unsigned char *)in.ptr + at;

	return (size_t)octets[0] << 8 | octets[1];
}

/* Every extension is whole, and nothing is left over. */
static bool are_tlvs(struct text rest)
{
	while (rest.len >= TLV_HEAD && number_at(rest, 1) <= rest.len - TLV_HEAD)
		rest = text_from(rest, TLV_HEAD + number_at(rest, 1));
	return rest.len == 0;
}

enum family { UNSPECIFIED, INET, INET6, UNIX, FAMILIES };
enum transport { TRANSPORT_UNSPECIFIED, STREAM, DATAGRAM, TRANSPORTS };

static int read_block(
	struct text block, unsigned family, unsigned transport, struct proxy_header *header)
{
	static const size_t sizes[FAMILIES] = { 0, 12, 36, 216 };

	if (family >= FAMILIES || transport >= TRANSPORTS || block.len < sizes[family] ||
		!are_tlvs(text_from(block, sizes[family])))
		return -1;
	header->has_client = transport == STREAM && (family == INET || family == INET6);
	if (!header->has_client)
		return 1;
	if (family == INET)
		net_address_set_ipv4(&header->client, block.ptr);
	else
		memcpy(header->client.octets, block.ptr, sizeof(header->client.octets));
	return 1;
}

static int parse_octets(struct text in, struct proxy_header *header, size_t *used)
{
	if (in.len < FIXED)
		return 0;
	const unsigned version = (unsigned char)in.ptr[12] >> 4, command = in.ptr[12] & 15;
	const unsigned family = (unsigned char)in.ptr[13] >> 4, transport = in.ptr[13] & 15;
	const size_t length = number_at(in, 14);
	if (version != 2 || command > 1 || FIXED + length > PROXY_HEADER_LIMIT)
		return -1;
	if (in.len < FIXED + length)
		return 0;
	*used = FIXED + length;
	/* Of what a balancer says for itself nothing counts but the length. */
	if (command == 0)
		return 1;
	return read_block(text_from(text_head(in, *used), FIXED), family, transport, header);
}

int proxy_parse(struct text in, struct proxy_header *header, size_t *used)
{
	static const struct text line = { "PROXY ", 6 }, octets = { signature, SIGNATURE };

	*header = (struct proxy_header){ .has_client = false };
	*used = 0;
	if (text_begins(in, line))
		return parse_line(in, header, used);
	if (text_begins(in, octets))
		return parse_octets(in, header, used);
	return text_begins(line, in) || text_begins(octets, in) ? 0 : -1;
}

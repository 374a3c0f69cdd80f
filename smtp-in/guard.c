#include "smtp-in/guard.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/role.h"
#include "base/shun.h"
#include "smtp-in/session.h"
#include "smtp-in/settings.h"

enum {
	MINUTE = 60 * 1000, /* milliseconds */
	HOUR = 60 * MINUTE,
	IPV4_BITS = 32,
	WHOLE_ADDRESS = 128, /* bits */
	REPORTS = 5,         /* clients that the counters name */
};

static const struct smtp_in_settings *settings_of(const struct guard *guard)
{
	return guard->context->settings;
}

static struct limits *limits_of(const struct guard *guard)
{
	return guard->context->limits;
}

/* ---- who comes ---- */

static struct limits_allowance per_minute(uint64_t count)
{
	return (struct limits_allowance){ .count = count, .period = MINUTE };
}

static struct limits_allowance per_hour(uint64_t count)
{
	return (struct limits_allowance){ .count = count, .period = HOUR };
}

static bool is_over(uint64_t number, uint64_t limit)
{
	return limit && number > limit;
}

/* Why not, or NULL, with the counter of that reason: what it does itself. */
static const char *find_fault(
	struct guard *guard, const struct guard_client *client, uint64_t **counter)
{
	const struct smtp_in_settings *settings = settings_of(guard);
	struct limits *limits = limits_of(guard);

	*counter = &guard->refused.clients_per_address;
	if (is_over(limits_connections(limits, &client->address), settings->clients_per_address))
		return "Too many connections from your address";
	*counter = &guard->refused.connections_per_minute;
	if (!limits_take(limits, &client->address, LIMITS_CONNECTIONS,
		    per_minute(settings->connections_per_minute), worker_milliseconds()))
		return "Too many connections from your address, come again in a minute";
	return NULL;
}

/* The same: what all together do. */
static const char *find_crowd(
	struct guard *guard, const struct guard_client *client, uint64_t **counter)
{
	const struct smtp_in_settings *settings = settings_of(guard);
	struct limits *limits = limits_of(guard);

	*counter = &guard->refused.clients_total;
	if (is_over(limits_connections(limits, &client->everybody), settings->clients_total))
		return "Too many clients, come again later";
	*counter = &guard->refused.connections_per_minute_total;
	if (!limits_take(limits, &client->everybody, LIMITS_CONNECTIONS,
		    per_minute(settings->connections_per_minute_total), worker_milliseconds()))
		return "Too many connections, come again in a minute";
	return NULL;
}

static void log_refusal(const struct net_address *peer, const char *reason)
{
	char string[INET6_ADDRSTRLEN];

	net_address_print(peer, string);
	LOG_DEBUG("client-refused", LOG_STRING("peer", string), LOG_STRING("reason", reason));
}

static struct net_prefix prefix_of(const struct guard *guard, const struct net_address *address)
{
	const unsigned ipv6_bits = (unsigned)settings_of(guard)->limits_ipv6_prefix;
	struct net_prefix prefix = { .address = *address };

	net_address_mask(&prefix.address, IPV4_BITS, ipv6_bits);
	prefix.bits = net_address_is_ipv4(address) ? WHOLE_ADDRESS : ipv6_bits;
	return prefix;
}

static void log_shunned(const struct guard *guard, const struct net_prefix *prefix)
{
	char string[INET6_ADDRSTRLEN];

	net_address_print(&prefix->address, string);
	LOG_INFO("client-shunned", LOG_STRING("peer", string),
		LOG_NUMBER("seconds", settings_of(guard)->shun_seconds));
}

/* An answer is what a flood comes for, or does not even wait for. */
static void shun_who_goes_on(
	struct guard *guard, const struct guard_client *client, const struct net_prefix *prefix)
{
	const struct smtp_in_settings *settings = settings_of(guard);
	const int64_t now = worker_milliseconds();

	if (limits_take(limits_of(guard), &client->address, LIMITS_REFUSALS,
		    per_minute(settings->refusals_per_minute), now))
		return;
	guard->context->shunned = true;
	if (!limits_shun(limits_of(guard), prefix, (unsigned)settings->shun_seconds, now))
		return;
	guard->refused.shunned++;
	log_shunned(guard, prefix);
}

bool guard_admit(struct guard *guard, const struct guard_peer *peer, struct guard_client *client,
	struct reply *refusal)
{
	const struct net_prefix prefix = prefix_of(guard, &peer->address);
	uint64_t *counter;

	*client = (struct guard_client){ .limited = false };
	if (net_address_is_loopback(&peer->address) && !settings_of(guard)->limits_loopback)
		return true;
	client->limited = true;
	client->everybody = limits_enter_everybody(limits_of(guard));
	client->address = limits_enter(limits_of(guard), &prefix.address);
	const char *fault = find_fault(guard, client, &counter);
	const char *reason = fault ? fault : find_crowd(guard, client, &counter);
	if (!reason)
		return true;
	++*counter;
	limits_note_refusal(limits_of(guard), &client->address, worker_milliseconds());
	log_refusal(&peer->address, reason);
	if (fault && peer->near)
		shun_who_goes_on(guard, client, &prefix);
	*refusal = REPLY(421, 4, 7, 0, "");
	refusal->text = text_of(reason);
	guard_leave(guard, client);
	return false;
}

void guard_leave(struct guard *guard, struct guard_client *client)
{
	limits_leave(limits_of(guard), &client->address);
	limits_leave(limits_of(guard), &client->everybody);
}

unsigned guard_greeting_delay(const struct guard *guard, const struct session *session)
{
	if (!session->guard.limited || session->listener->submission || session->listener->tls)
		return 0;
	return (unsigned)settings_of(guard)->greeting_delay * 1000;
}

/* ---- what it does ---- */

static void refuse(struct guard *guard, const struct guard_client *client, uint64_t *counter)
{
	++*counter;
	limits_note_refusal(limits_of(guard), &client->address, worker_milliseconds());
}

bool guard_take_message(struct guard *guard, const struct guard_client *client)
{
	const struct smtp_in_settings *settings = settings_of(guard);
	const struct limits_allowance own = per_hour(settings->messages_per_hour);
	struct limits *limits = limits_of(guard);
	const int64_t now = worker_milliseconds();

	if (limits_take(limits, &client->address, LIMITS_MESSAGES, own, now)) {
		if (limits_take(limits, &client->everybody, LIMITS_MESSAGES,
			    per_hour(settings->messages_per_hour_total), now))
			return true;
		/* It is not to pay for what others used up. */
		limits_give_back(limits, &client->address, LIMITS_MESSAGES, own);
	}
	refuse(guard, client, &guard->refused.messages);
	return false;
}

static bool is_spent(const struct guard *guard, const struct limits_client *client,
	enum limits_rate rate, uint64_t count)
{
	return count && limits_level(limits_of(guard), client, rate, per_hour(count),
				worker_milliseconds()) >= count;
}

bool guard_is_wary(const struct guard *guard, const struct guard_client *client)
{
	return limits_level(limits_of(guard), &client->address, LIMITS_FAILED_RECIPIENTS,
		       per_hour(settings_of(guard)->failed_recipients_per_hour),
		       worker_milliseconds()) > 0;
}

/* When all together have failed too often, those who have not failed themselves go on. */
bool guard_takes_recipients(struct guard *guard, const struct guard_client *client)
{
	const struct smtp_in_settings *settings = settings_of(guard);

	if (!is_spent(guard, &client->address, LIMITS_FAILED_RECIPIENTS,
		    settings->failed_recipients_per_hour) &&
		!(guard_is_wary(guard, client) &&
			is_spent(guard, &client->everybody, LIMITS_FAILED_RECIPIENTS,
				settings->failed_recipients_per_hour_total)))
		return true;
	refuse(guard, client, &guard->refused.recipients);
	return false;
}

unsigned guard_growing_delay(uint64_t nth, uint64_t first_ms, uint64_t most_ms)
{
	uint64_t delay = first_ms;

	for (uint64_t i = 1; i < nth && delay && delay < most_ms; i++)
		delay *= 2;
	return (unsigned)(delay < most_ms ? delay : most_ms);
}

/* Counts one more failure. The n-th within the hour is the n-th of its row of delays. */
unsigned guard_recipient_failed(struct guard *guard, const struct guard_client *client)
{
	const struct smtp_in_settings *settings = settings_of(guard);
	const struct limits_allowance allowance = per_hour(settings->failed_recipients_per_hour);
	struct limits *limits = limits_of(guard);
	const int64_t now = worker_milliseconds();

	if (!client->limited)
		return 0;
	limits_charge(limits, &client->address, LIMITS_FAILED_RECIPIENTS, allowance, now);
	limits_charge(limits, &client->everybody, LIMITS_FAILED_RECIPIENTS,
		per_hour(settings->failed_recipients_per_hour_total), now);
	const uint64_t level =
		limits_level(limits, &client->address, LIMITS_FAILED_RECIPIENTS, allowance, now);
	const unsigned delay = guard_growing_delay(
		level, settings->failure_delay * 1000, settings->failure_delay_most * 1000);
	guard->refused.delayed_recipients += delay > 0;
	return delay;
}

bool guard_takes_logins(struct guard *guard, const struct guard_client *client)
{
	if (!is_spent(guard, &client->address, LIMITS_FAILED_LOGINS,
		    settings_of(guard)->failed_logins_per_hour))
		return true;
	refuse(guard, client, &guard->refused.logins);
	return false;
}

void guard_login_failed(struct guard *guard, const struct guard_client *client)
{
	if (client->limited)
		limits_charge(limits_of(guard), &client->address, LIMITS_FAILED_LOGINS,
			per_hour(settings_of(guard)->failed_logins_per_hour),
			worker_milliseconds());
}

static bool is_below(uint64_t rate, uint64_t after, uint64_t octets, int64_t milliseconds)
{
	return milliseconds >= (int64_t)after * 1000 &&
	       octets < rate * (uint64_t)milliseconds / 1000;
}

bool guard_is_slow(const struct guard *guard, uint64_t octets, int64_t milliseconds)
{
	const struct smtp_in_settings *settings = settings_of(guard);

	return is_below(settings->minimum_rate, settings->minimum_rate_after, octets, milliseconds);
}

bool guard_is_in_the_way(const struct guard *guard, uint64_t octets, int64_t milliseconds)
{
	const struct smtp_in_settings *settings = settings_of(guard);

	return is_below(settings->minimum_rate_pressed, settings->hand_over_hold_seconds, octets,
		milliseconds);
}

/* ---- what is told ---- */

/* The table is everybody's: one worker tells of it. */
static void tell_of_all(const struct guard *guard, struct buf *out)
{
	struct limits_report reports[REPORTS];
	struct net_prefix shunned[SHUN_MOST];
	char string[INET6_ADDRSTRLEN];

	if (guard->context->worker != 0)
		return;
	buf_format(out, "shunned-now=%zu\n",
		limits_shunned(limits_of(guard), worker_milliseconds(), shunned, SHUN_MOST));
	const size_t count =
		limits_worst(limits_of(guard), worker_milliseconds(), reports, REPORTS);
	for (size_t i = 0; i < count; i++) {
		net_address_print(&reports[i].address, string);
		buf_format(out, "refused-%s=%u\n", string, reports[i].refusals);
	}
}

void guard_count(const struct guard *guard, struct buf *out)
{
	const struct {
		const char *name;
		uint64_t number;
	} lines[] = {
		{ "refused-clients-per-address", guard->refused.clients_per_address },
		{ "refused-clients-total", guard->refused.clients_total },
		{ "refused-connections-per-minute", guard->refused.connections_per_minute },
		{ "refused-connections-per-minute-total",
			guard->refused.connections_per_minute_total },
		{ "refused-messages-per-hour", guard->refused.messages },
		{ "refused-failed-recipients", guard->refused.recipients },
		{ "refused-failed-logins", guard->refused.logins },
		{ "delayed-recipients", guard->refused.delayed_recipients },
		{ "talked-first", guard->refused.talked_first },
		{ "slow-senders", guard->refused.slow_senders },
		{ "shunned", guard->refused.shunned },
		{ "proxied", guard->refused.proxied },
		{ "refused-proxy-headers", guard->refused.proxy_headers },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		buf_format(out, "%s=%llu\n", lines[i].name, (unsigned long long)lines[i].number);
	tell_of_all(guard, out);
}

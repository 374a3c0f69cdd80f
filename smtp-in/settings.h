/*
 * The settings of smtp-in: section "smtp-in" of the settings file.
 *
 * Each list of addresses is one listener, known to the role by its name: listen is "smtp",
 * listen-tls "smtps", listen-submission "submission", listen-submissions "submissions". The two with
 * an s at their end speak TLS from the first octet.
 */
#ifndef SMTP_IN_SETTINGS_H
#define SMTP_IN_SETTINGS_H

#include <sys/socket.h>
#include <sys/un.h>

#include "base/proxy.h"
#include "base/settings.h"

struct smtp_in_settings {
	struct settings_list listen;             /* SMTP in the clear, with STARTTLS */
	struct settings_list listen_tls;         /* the same over TLS at once */
	struct settings_list listen_submission;  /* RFC 6409: of authenticated users only */
	struct settings_list listen_submissions; /* RFC 8314: the same over TLS at once */
	uint64_t workers;                        /* processes; 0: one per core */
	uint64_t message_size;                   /* octets, as SIZE counts them */
	uint64_t recipients;                     /* of one message */
	uint64_t clients;                        /* sessions at once in one worker */
	uint64_t errors;                         /* commands in error without a message between */
	uint64_t junk;                           /* commands that lead to nothing, likewise */
	uint64_t login_failures;                 /* of one session */
	uint64_t command_seconds;                /* waiting for a command */
	uint64_t data_seconds;                   /* waiting for more of a message */
	uint64_t send_seconds;                   /* the client takes nothing of a reply */
	char *hand_over;                         /* where the LMTP server is */
	uint64_t hand_over_connections;          /* to it at once, of one worker */
	uint64_t hand_over_seconds;              /* waiting for its replies */
	uint64_t hand_over_hold_seconds;         /* a silent client keeps one of them */
	uint64_t hand_over_end_seconds;          /* waiting for those at the end of a message */
	uint64_t hand_over_memory_seconds;       /* an accepted recipient is known for so long */
	uint64_t handshake_seconds;              /* of TLS */
	/* Limits on clients (guard.h); 0 is none. */
	bool limits_loopback;
	uint64_t limits_ipv6_prefix; /* bits: such a prefix is one client */
	uint64_t clients_per_address, clients_total;
	uint64_t connections_per_minute, connections_per_minute_total;
	uint64_t refusals_per_minute, shun_seconds;
	uint64_t messages_per_hour, messages_per_hour_total;
	uint64_t failed_recipients_per_hour, failed_recipients_per_hour_total;
	uint64_t failed_logins_per_hour;
	uint64_t failure_delay, failure_delay_most; /* seconds */
	uint64_t greeting_delay;                    /* seconds */
	uint64_t minimum_rate;                      /* octets a second */
	uint64_t minimum_rate_after;                /* seconds */
	uint64_t minimum_rate_pressed;              /* octets a second */
	struct proxy_settings proxy;
};

extern const struct settings_section smtp_in_section;

/* Where an LMTP server listens, ready for connect(2). */
struct smtp_in_hand_over {
	union {
		struct sockaddr any;
		struct sockaddr_un local;
		struct sockaddr_storage room;
	} address;
	socklen_t size;
};

/* "unix:PATH", "inet:192.0.2.1:24" or "inet:[2001:db8::1]:24"; names are not looked up. 0, or -1. */
int smtp_in_hand_over_parse(struct text in, struct smtp_in_hand_over *to);

#endif

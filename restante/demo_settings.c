#include "restante/demo_settings.h"

#include "base/settings.h"

const char *const demo_users[DEMO_USERS] = { "alice", "bob", "carol" };

static const char head[] = "# Made up by restante demo, anew each time it starts: copy it before "
			   "you change it for good.\n"
			   "# A demo that runs reads it again on SIGHUP. restante check --sample "
			   "shows every setting.\n"
			   "\n";

static void print_listen(
	struct buf *out, const struct demo_options *options, const char *name, unsigned well_known)
{
	const unsigned port = options->port_base ? options->port_base + well_known : 0;

	buf_format(out, "\t%s = { \"127.0.0.1:%u\"", name, port);
	if (options->ipv6)
		buf_format(out, ", \"[::1]:%u\"", port);
	buf_add_string(out, " }\n");
}

static void print_limits(struct buf *out, const struct demo_options *options, const char *name)
{
	buf_format(out, "\t%s = %s\n", name, options->limits ? "yes" : "no");
}

void demo_settings_print(struct buf *out, const struct demo_options *options)
{
	buf_add_string(out, head);
	buf_format(out, "hostname = \"%s\"\ndomains = { \"%s\" }\nstate = ", DEMO_HOSTNAME,
		DEMO_DOMAIN);
	settings_add_quoted(out, text_of(options->directory));
	buf_add_string(out, "\ncertificates = { \"certificate.pem:key.pem\" }\n\nsmtp-in {\n");
	print_listen(out, options, "listen", 25);
	print_listen(out, options, "listen-submission", 587);
	print_listen(out, options, "listen-submissions", 465);
	print_limits(out, options, "limits-loopback");
	buf_add_string(out, "}\n\npop3d {\n");
	print_listen(out, options, "listen", 110);
	print_listen(out, options, "listen-tls", 995);
	print_limits(out, options, "limits-loopback");
	buf_format(out, "}\n\nstore {\n\tpostmaster = \"%s@%s\"\n", demo_users[0], DEMO_DOMAIN);
	print_limits(out, options, "login-limits-loopback");
	buf_add_string(out, "}\n");
}

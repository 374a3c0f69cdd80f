#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/priv_private.h"
#include "base/sanitizer.h"

/*
 * The kernel's interface, with the rights that came after Debian 12's header: truncate with version 3,
 * the network with 4, device ioctl with 5, scopes with 6.
 */
struct ruleset {
	uint64_t files, network, scoped;
};

struct beneath {
	uint64_t allowed;
	int32_t directory;
} __attribute__((packed));

enum { VERSION_QUERY = 1, RULE_BENEATH = 1 };

enum {
	READ_FILE = 1 << 2,
	READ_DIRECTORY = 1 << 3,
	TRUNCATE = 1 << 14,
	DEVICE_IOCTL = 1 << 15,
	ALL_FILES = (1 << 16) - 1,

	BIND_TCP = 1 << 0,
	CONNECT_TCP = 1 << 1,

	ABSTRACT_SOCKETS = 1 << 0,
	SIGNALS = 1 << 1,
};

/* What this version of the kernel's interface knows; to ask for more would be an error. */
static struct ruleset ruleset_for(int version, bool tcp_client)
{
	struct ruleset set = { .files = ALL_FILES };

	if (version < 5)
		set.files &= ~(uint64_t)DEVICE_IOCTL;
	if (version < 3)
		set.files &= ~(uint64_t)TRUNCATE;
	if (version >= 4)
		set.network = tcp_client ? BIND_TCP : BIND_TCP | CONNECT_TCP;
	if (version >= 6)
		set.scoped = ABSTRACT_SOCKETS | SIGNALS;
	return set;
}

static int allow_beneath(int ruleset, const char *path, uint64_t rights)
{
	struct beneath rule = { .allowed = rights };

	rule.directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.directory < 0)
		return -1;
	long result = syscall(SYS_landlock_add_rule, ruleset, RULE_BENEATH, &rule, 0);
	const int number = errno;
	close(rule.directory);
	errno = number;
	return result == 0 ? 0 : -1;
}

/*
 * The own tree gets every right that is handled: for each link and rename between directories the kernel
 * walks up from both to a rule that gives all of them, or to the root, twice. Programs, devices, pipes,
 * sockets and symbolic links, which the store has no use for, are kept from it by the filter alone then.
 */
static int enforce(int ruleset, const struct ruleset *set, bool own_tree)
{
	if (own_tree && allow_beneath(ruleset, ".", set->files) != 0)
		return -1;
	if (BASE_ADDRESS_SANITIZER &&
		allow_beneath(ruleset, "/proc", READ_FILE | READ_DIRECTORY) != 0)
		return -1;
	return syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 ? 0 : -1;
}

int priv_landlock(bool own_tree, bool tcp_client)
{
	const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_QUERY);

	/* Version 1 forbids every link and rename between directories, and so delivery to a Maildir. */
	if (version < 2) {
		LOG_WARNING("landlock-absent", LOG_NUMBER("version", version < 0 ? 0 : version),
			LOG_STRING("effect", "file access is limited by user id and seccomp only"));
		return 0;
	}
	const struct ruleset set = ruleset_for((int)version, tcp_client);
	const int ruleset = (int)syscall(SYS_landlock_create_ruleset, &set, sizeof(set), 0);
	if (ruleset < 0)
		return -1;
	int result = enforce(ruleset, &set, own_tree);
	const int number = errno;
	close(ruleset);
	errno = number;
	return result;
}

# restante: build, run and test. Everything made goes below build/.
#
#   make            build (release) into build/
#   make run        install what is missing, build, and run a working mail host on this machine
#   make test       install what is missing, build all variants, and run every test
#   make VARIANT=debug|sanitize|fuzz     the other builds, side by side in build/VARIANT/
#   make crash [CRASH_MINUTES=30]   kill -9 under load, at least 200 rounds
#   make check-source  make fuzz-run [FUZZ_SECONDS=60]  make install [DESTDIR= PREFIX=]  make help

VARIANT ?= release
WERROR  ?= 0
PREFIX  ?= /usr/local
BUILD   ?= build
OUT     := $(if $(filter release,$(VARIANT)),$(BUILD),$(BUILD)/$(VARIANT))
OBJ     := $(OUT)/obj
LIB     := $(OUT)/lib

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

# ---- what has to be installed (Debian names) ----

BUILD_PACKAGES := gcc libc6-dev linux-libc-dev libssl-dev libdb5.3-dev libevent-dev libconfuse-dev \
	libcrypt-dev libseccomp-dev libgsasl-dev libidn2-dev libunistring-dev libetpan-dev
RUN_PACKAGES   := $(BUILD_PACKAGES) curl ca-certificates
TEST_PACKAGES  := $(RUN_PACKAGES) clang clang-format libclang-rt-dev libcmocka-dev \
	python3 openssl swaks libnet-ssleay-perl msmtp mpop fetchmail getmail6 maildrop mutt isync bsdutils s-nail
# Other mail servers that some tests stand beside ours; PEERS=no leaves them out.
PEER_PACKAGES  := postfix dovecot-core dovecot-lmtpd dovecot-pop3d dovecot-imapd
PEERS          ?= yes

# ---- compilers and flags ----

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wformat=2 -Wvla -Wundef -Wimplicit-fallthrough
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif

CC_release  := gcc
CC_debug    := gcc
CC_sanitize := clang
CC_fuzz     := clang
FLAGS_release  := -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2
FLAGS_debug    := -O0
FLAGS_sanitize := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_fuzz     := $(FLAGS_sanitize) -fsanitize=fuzzer-no-link

ifeq ($(origin CC),default)
CC := $(CC_$(VARIANT))
endif
CFLAGS   := -std=c17 -g -fPIE $(FLAGS_$(VARIANT)) $(WARNINGS) $(EXTRA_CFLAGS)
CPPFLAGS := -D_GNU_SOURCE -I. -MMD -MP
LDFLAGS  := -pie -Wl,-z,relro -Wl,-z,now -Wl,--as-needed $(filter -fsanitize=%,$(FLAGS_$(VARIANT)))

LIBS_base     := -levent_core -lssl -lcrypto -lconfuse -lseccomp -lidn2 -lunistring
LIBS_store    := -ldb-5.3 -lcrypt -lgsasl -lpthread
LIBS_bridge   := -letpan
LIBS_test     := -lcmocka -lcrypt -lgsasl -lpthread
LIBS_clients  := -letpan -lgsasl -lssl -lcrypto

# ---- sources: a folder is a library, main.c is its program ----

ROLES         := store mda smtp-in pop3d bridge
STORE_CLIENT  := store/client.c store/protocol.c store/failure.c

sources       = $(filter-out %/main.c,$(wildcard $(1)/*.c))
objects       = $(patsubst %.c,$(OBJ)/%.o,$(1))

SRC_base        := $(call sources,base)
SRC_mail        := $(call sources,mail)
SRC_storeclient := $(wildcard $(STORE_CLIENT))
SRC_store       := $(filter-out $(STORE_CLIENT),$(call sources,store))
SRC_mda         := $(call sources,mda)
SRC_smtp-in     := $(call sources,smtp-in)
SRC_pop3d       := $(call sources,pop3d)
SRC_bridge      := $(call sources,bridge)
SRC_restante    := $(call sources,restante)
# The command knows every role's settings table, and nothing else of it.
SRC_settings    := $(wildcard $(ROLES:%=%/settings.c))

LIBRARIES := base mail storeclient store mda smtp-in pop3d bridge restante settings
archives   = $(patsubst %,$(LIB)/lib%.a,$(1))

define library
$(LIB)/lib$(1).a: $(call objects,$(SRC_$(1)))
endef
$(foreach l,$(LIBRARIES),$(eval $(call library,$(l))))

PROGRAMS := $(OUT)/restante $(ROLES:%=$(OUT)/libexec/%)

$(OUT)/libexec/store: $(OBJ)/store/main.o $(call archives,store storeclient mail base)
$(OUT)/libexec/store: LIBS = $(LIBS_store) $(LIBS_base)
$(OUT)/libexec/mda: $(OBJ)/mda/main.o $(call archives,mda storeclient mail base)
$(OUT)/libexec/mda: LIBS = $(LIBS_base)
$(OUT)/libexec/smtp-in: $(OBJ)/smtp-in/main.o $(call archives,smtp-in storeclient mail base)
$(OUT)/libexec/smtp-in: LIBS = $(LIBS_base)
$(OUT)/libexec/pop3d: $(OBJ)/pop3d/main.o $(call archives,pop3d storeclient mail base)
$(OUT)/libexec/pop3d: LIBS = $(LIBS_base)
$(OUT)/libexec/bridge: $(OBJ)/bridge/main.o $(call archives,bridge storeclient mail base)
$(OUT)/libexec/bridge: LIBS = $(LIBS_bridge) $(LIBS_base)
$(OUT)/restante: $(OBJ)/restante/main.o $(call archives,restante settings storeclient mail base)
$(OUT)/restante: LIBS = $(LIBS_base)

# ---- tests: tests/unit/FOLDER/test_NAME.c and tests/fuzz/FOLDER/fuzz_NAME.c link with that folder ----

UNITS   := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(wildcard tests/unit/*/test_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(OUT)/fuzz/%,$(wildcard tests/fuzz/*/fuzz_*.c))
CLIENTS := $(patsubst tests/clients/%.c,$(OUT)/clients/%,$(wildcard tests/clients/*.c))
TEST_FOLDERS := base mail store mda smtp-in pop3d bridge restante
TEST_LIBS_restante := restante settings storeclient mail base
test_libs = $(call archives,$(or $(TEST_LIBS_$(1)),$(filter-out base mail,$(1)) storeclient mail base))

define test_folder
$(OUT)/unit/$(1)/%: $(OBJ)/tests/unit/$(1)/%.o $(call test_libs,$(1))
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LIBS_test) $$(LIBS_store) $$(LIBS_bridge) $$(LIBS_base)
$(OUT)/fuzz/$(1)/%: $(OBJ)/tests/fuzz/$(1)/%.o $(call test_libs,$(1))
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -fsanitize=fuzzer -o $$@ $$^ $$(LIBS_store) $$(LIBS_bridge) $$(LIBS_base)
endef
$(foreach f,$(TEST_FOLDERS),$(eval $(call test_folder,$(f))))

# What env.h does is refused by this one.
$(OUT)/unit/store/test_expunge_refused: LDFLAGS += -Wl,--wrap=env_log,--wrap=env_delete

# The recorder and the failing calls stand in the C library's place, so these two stay apart.
CRASH_TESTS := $(OUT)/crash/powercut $(OUT)/crash/failing
CRASH_WORK  := $(patsubst %,$(OBJ)/tests/crash/%.o,workload requests shapes check)
$(OUT)/crash/powercut: $(OBJ)/tests/crash/powercut.o $(OBJ)/tests/crash/record.o \
	$(OBJ)/tests/crash/rebuild.o $(CRASH_WORK) $(call test_libs,store)
$(OUT)/crash/powercut: LDFLAGS += -Wl,--wrap=env_log,--wrap=env_flush,--wrap=resync_is_due
$(OUT)/crash/failing: $(OBJ)/tests/crash/failing.o $(CRASH_WORK) $(call test_libs,store)
$(CRASH_TESTS):
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_store) $(LIBS_base)

$(OUT)/clients/storeload: $(call archives,storeclient mail base)
$(OUT)/clients/storeload: LIBS_clients += $(LIBS_base)
$(OUT)/clients/%: $(OBJ)/tests/clients/%.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_clients)

# ---- rules ----

.PHONY: all units fuzzers clients crash-tests
all: $(PROGRAMS)
units: $(UNITS)
fuzzers: $(FUZZERS)
clients: $(CLIENTS)
crash-tests: $(CRASH_TESTS)

$(PROGRAMS):
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

$(LIB)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)

# ---- what people type ----

.PHONY: run test deps deps-build deps-test check-source manual format fuzz-run crash bench bench-pop3 bench-bridge bench-smtp bench-tls install clean help
run: deps
	@$(MAKE) --no-print-directory -s -j$$(nproc) all
	@exec $(BUILD)/restante demo $(DEMO)

deps:
	@tests/lib/install-packages $(RUN_PACKAGES)
deps-build:
	@tests/lib/install-packages $(BUILD_PACKAGES)
deps-test:
	@tests/lib/install-packages $(TEST_PACKAGES) $(if $(filter yes,$(PEERS)),$(PEER_PACKAGES))

test: deps-test
	@tests/lib/make-test $(MAKE)

check-source:
	@tests/lib/check-source

# restante.conf(5) lists the settings that there are.
manual: all
	@$(BUILD)/restante check --manual | sed '/^\.Sh FILES/,$$d' > $(BUILD)/manual
	@sed -n '/^\.Sh ADDRESSES/,$$p' docs/man/restante.conf.5 >> $(BUILD)/manual
	@cp $(BUILD)/manual docs/man/restante.conf.5

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

FUZZ_SECONDS ?= 60
fuzz-run:
	@$(MAKE) --no-print-directory -s -j$$(nproc) VARIANT=fuzz fuzzers
	@tests/lib/fuzz --seconds $(FUZZ_SECONDS)

CRASH_ROUNDS ?= 200
CRASH_MINUTES ?= 0
crash: all crash-tests clients
	$(OUT)/crash/powercut -n 1000
	$(OUT)/crash/powercut -n 300 -e
	$(OUT)/crash/powercut -n 300 -m
	$(OUT)/crash/powercut -n 300 -m -e
	$(OUT)/crash/failing -n 1000
	@/usr/bin/python3 -B tests/crash/crash.py --rounds $(CRASH_ROUNDS) --minutes $(CRASH_MINUTES)

# BENCH: names of benches and --quick. PEER_PACKAGES bring the others; what is missing is skipped.
bench: all
	@/usr/bin/python3 -B tests/bench/bench.py $(BENCH)
bench-pop3: all clients
	@tests/bench/pop3.py $(BENCH)
bench-bridge: all
	@/usr/bin/python3 -B tests/bench/bridge.py $(BENCH)
bench-smtp: all clients
	@/usr/bin/python3 -B tests/bench/smtp.py $(BENCH)
bench-tls: all clients
	@/usr/bin/python3 -B tests/bench/tls.py $(BENCH)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/restante \
		$(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 \
		$(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(OUT)/restante $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(ROLES:%=$(OUT)/libexec/%) $(DESTDIR)$(PREFIX)/libexec/restante/
	for s in 1 5 8; do for m in docs/man/*.$$s; do [ ! -e $$m ] || \
		install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$$s/; done; done

clean:
	rm -rf $(BUILD)

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^---/,$$d'

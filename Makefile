# Everything is found by wildcards: a new source, test, fuzz target or bench program needs no line here.
#   make help          says what there is to make
#   MODE=release       or debug, asan, tsan, fuzz; each has a directory of its own below $(BUILD)
#   CC=clang WERROR=1  another compiler, warnings as errors

VERSION := 0.1.0

BUILD ?= build
MODE ?= release
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60

B := $(if $(filter release,$(MODE)),$(BUILD),$(BUILD)/$(MODE))
PROCESSORS := $(shell nproc 2>/dev/null || echo 2)
# A sub-make goes parallel by itself, unless the caller already said how wide.
PARALLEL = --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(PROCESSORS))
PYTHON ?= /usr/bin/python3

include third_party/deps.mk

# ---- flags -------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wvla $(if $(filter 1,$(WERROR)),-Werror)

MODE_release := -O2 -g -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
MODE_debug := -O0 -g -fstack-protector-strong -DHERMES_DEBUG=1
MODE_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all -DHERMES_DEBUG=1
MODE_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -DHERMES_DEBUG=1
# The engine itself (and its main) comes in only where a fuzz target is linked.
MODE_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -DHERMES_DEBUG=1
ifeq ($(MODE_$(MODE)),)
$(error MODE=$(MODE) is none of release, debug, asan, tsan, fuzz)
endif

# _GNU_SOURCE is empty as a source's own #define would have it, so that both together do not clash.
HERMES_CPPFLAGS := -D_GNU_SOURCE= -DHERMES_VERSION=\"$(VERSION)\" -Iinclude
# What is not marked HERMES_API stays inside, see libhermes.a.
HERMES_CFLAGS := -std=gnu11 -fPIE -fvisibility=hidden -pthread $(WARNINGS) $(MODE_$(MODE))
HERMES_LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed

FLAGS := $(HERMES_CPPFLAGS) $(DEPS_CFLAGS) $(CPPFLAGS) $(HERMES_CFLAGS) $(CFLAGS)
LIBS := $(DEPS_LIBS) $(LDLIBS)

# V=1 shows the commands.
Q := $(if $(filter 1,$(V)),,@)
SAY := $(if $(filter 1,$(V)),@:,@printf '  %-5s %s\n')
COMPILE = $(CC) $(1) $(FLAGS) -MMD -MP -c -o $@ $<
LINK = $(CC) $(FLAGS) $(HERMES_LDFLAGS) $(LDFLAGS) -o $@ $(1) $(LIBS)
comma := ,

# ---- sources -----------------------------------------------------------------------------------

LIB_SRC := $(sort $(filter-out src/cli/%,$(wildcard src/*/*.c)))
CLI_SRC := $(sort $(wildcard src/main.c src/cli/*.c))
ECHO_SRC := $(sort $(wildcard test/echo/*.c))

find_c = $(sort $(shell find $(1) -name '*.c' 2>/dev/null))
UNIT_SRC := $(call find_c,test/unit)
INTEGRATION_SRC := $(call find_c,test/integration)
RACE_SRC := $(call find_c,test/race)
SUPPORT_SRC := $(call find_c,test/support)
FUZZ_SRC := $(sort $(wildcard test/fuzz/*_fuzz.c))
BENCH_SRC := $(sort $(wildcard bench/*.c))
# A folder of bench with a main.c in it is one program.
BENCH_DIRS := $(patsubst bench/%/main.c,%,$(sort $(wildcard bench/*/main.c)))
BENCH_DIR_SRC := $(sort $(foreach dir,$(BENCH_DIRS),$(wildcard bench/$(dir)/*.c)))

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
programs = $(patsubst %.c,$(B)/%,$(filter %_test.c,$(1)))
# What lies among tests without being one is shared by all tests of that kind.
helpers = $(call obj,$(filter-out %_test.c,$(1)))

LIB_OBJ := $(call obj,$(LIB_SRC))
CLI_OBJ := $(call obj,$(CLI_SRC))
ECHO_OBJ := $(call obj,$(ECHO_SRC))
UNIT := $(call programs,$(UNIT_SRC))
INTEGRATION := $(call programs,$(INTEGRATION_SRC))
RACE := $(call programs,$(RACE_SRC))
ECHO := $(if $(ECHO_SRC),$(B)/test/echo)
FUZZ := $(patsubst test/fuzz/%.c,$(B)/test/fuzz/%,$(FUZZ_SRC))
BENCH := $(patsubst bench/%.c,$(B)/bench/%,$(BENCH_SRC)) \
	$(patsubst %,$(B)/bench/%,$(filter-out hermes-bench,$(BENCH_DIRS)))
BENCH_MICRO := $(filter $(B)/bench/micro_%,$(BENCH))

INTERNAL := $(B)/libhermes-internal.a
LIBRARY := $(B)/libhermes.a
HERMES := $(if $(CLI_SRC),$(B)/hermes)
HERMES_BENCH := $(if $(filter hermes-bench,$(BENCH_DIRS)),$(B)/hermes-bench)

# ---- what one makes ----------------------------------------------------------------------------

.PHONY: all deps run test tests asan tsan fuzz fuzzers lint bench bench-full benches install clean help FORCE
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:

all: $(HERMES) $(HERMES_BENCH) $(LIBRARY)

help:
	@echo "make            $(B)/hermes, $(B)/hermes-bench and $(B)/libhermes.a"
	@echo "make deps       install what building needs and is missing"
	@echo "make run        deps, build, serve; WS_PORT=8080 make run for another port than 443"
	@echo "make test       install what tests need, build, run all tests"
	@echo "make asan       unit and integration tests under AddressSanitizer and UBSan"
	@echo "make tsan       race and integration tests under ThreadSanitizer"
	@echo "make fuzz       every fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS)"
	@echo "make lint       layers, clang-format, clang-tidy, -Wthread-safety"
	@echo "make bench      measure Hermes beside a floor and its peers, in under 5 minutes"
	@echo "make bench-full all of it; BENCH_ARGS='--only pairs --json FILE' for both, see bench/run --help"
	@echo "make install    below DESTDIR= and PREFIX=$(PREFIX)"
	@echo "make clean      remove $(BUILD)"
	@echo "settings        MODE=release|debug|asan|tsan BUILD=dir CC=clang WERROR=1"

deps:
	@third_party/install.sh build

# A make of its own: pkg-config was asked before deps had installed anything. exec: a signal sent to
# what started us must reach the server and not stop at a shell.
run: deps
	@$(MAKE) $(PARALLEL) all
	@exec $(B)/hermes serve

test:
	@third_party/install.sh build test
	@$(MAKE) $(PARALLEL) all tests
	@test/run $(B)

asan:
	@third_party/install.sh build test
	@$(MAKE) $(PARALLEL) MODE=asan all tests
	@test/run $(BUILD)/asan unit integration

tsan:
	@third_party/install.sh build test
	@$(MAKE) $(PARALLEL) MODE=tsan all tests
	@test/run $(BUILD)/tsan race integration

fuzz:
	@third_party/install.sh build lint
	@$(MAKE) $(PARALLEL) MODE=fuzz CC=clang fuzzers
	@test/fuzz-run $(BUILD)/fuzz $(FUZZ_SECONDS)

lint:
	@third_party/install.sh build test lint
	@$(MAKE) $(PARALLEL) MODE=release $(BUILD)/libhermes.a
	@test/lint/run $(BUILD)/libhermes.a '$(subst \,,$(HERMES_CPPFLAGS)) $(DEPS_CFLAGS) -std=gnu11 $(WARNINGS)'

# exec: a signal must reach the runner, which ends all that it started.
bench bench-full:
	@third_party/install.sh build bench
	@$(MAKE) $(PARALLEL) benches
	@exec bench/run --build $(B) $(if $(filter %-full,$@),--full) $(BENCH_ARGS)

tests: $(UNIT) $(INTEGRATION) $(RACE) $(ECHO)
fuzzers: $(FUZZ)
benches: all $(BENCH)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include/hermes
	install -m 755 $(HERMES) $(HERMES_BENCH) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/
	install -m 644 include/hermes/*.h $(DESTDIR)$(PREFIX)/include/hermes/
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|' src/systemd/hermes.service.in > $(DESTDIR)$(PREFIX)/lib/systemd/system/hermes.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/hermes.service
	install -m 644 src/systemd/hermes.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/

clean:
	rm -rf $(BUILD)

# ---- compiling ---------------------------------------------------------------------------------

# Rewritten only when they say something new: other flags, or another set of sources, build anew.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(SETUP))' | cmp -s - $@ || echo '$(subst ','\'',$(SETUP))' >$@
SETUP = $(CC) $(LD) $(AR) $(FLAGS) $(HERMES_LDFLAGS) $(LDFLAGS) $(LIBS)

$(B)/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_SRC) $(BENCH_DIR_SRC)' | cmp -s - $@ || echo '$(LIB_SRC) $(BENCH_DIR_SRC)' >$@

# $(error) rather than a recipe that fails: its one line is all that is printed.
$(B)/libraries: third_party/require.c $(B)/flags
	$(if $(DEPS_MISSING),$(error $(DEPS_MISSING): run 'make deps' to install what is missing))
	@touch $@

FOUNDATION := $(B)/flags $(B)/libraries

$(B)/obj/src/%.o: src/%.c $(FOUNDATION)
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(call COMPILE,-Isrc)

# The assembler puts these files into it, which -MMD does not see.
$(B)/obj/src/admin/assets.o: $(wildcard src/web/*)

# Integration tests and bench see what an embedding program sees: the public headers.
$(B)/obj/test/integration/%.o: test/integration/%.c $(FOUNDATION)
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(call COMPILE,-Itest)

$(B)/obj/bench/micro_%.o: bench/micro_%.c $(FOUNDATION)
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(call COMPILE,-Isrc)

$(B)/obj/bench/%.o: bench/%.c $(FOUNDATION)
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(call COMPILE,)

# Unit tests of what the bench tool is made of.
$(B)/obj/test/unit/bench/%.o: test/unit/bench/%.c $(FOUNDATION)
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(call COMPILE,-Itest -Ibench)

$(B)/obj/test/%.o: test/%.c $(FOUNDATION)
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(call COMPILE,-Isrc -Itest)

# ---- linking -----------------------------------------------------------------------------------

$(INTERNAL): $(LIB_OBJ) $(B)/sources
	@mkdir -p $(@D)
	@rm -f $@
	$(SAY) AR $@
	$(Q)$(AR) rcs $@ $(LIB_OBJ)

# One object with nothing but the HERMES_API names global, so that no name of ours can clash with
# one of the embedding program.
$(LIBRARY): $(LIB_OBJ) $(B)/sources
	@rm -f $@
	$(SAY) AR $@
	$(Q)$(LD) -r -o $(B)/hermes.o $(LIB_OBJ)
	$(Q)$(OBJCOPY) --localize-hidden $(B)/hermes.o
	$(Q)$(AR) rcs $@ $(B)/hermes.o
OBJCOPY ?= objcopy

$(B)/hermes: $(CLI_OBJ) $(INTERNAL)
	$(SAY) LINK $@
	$(Q)$(call LINK,$(CLI_OBJ) $(INTERNAL))

$(B)/test/echo: $(ECHO_OBJ) $(INTERNAL)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(call LINK,$(ECHO_OBJ) $(INTERNAL))

UNIT_HELPERS := $(call helpers,$(UNIT_SRC)) $(call obj,$(SUPPORT_SRC))
RACE_HELPERS := $(call helpers,$(RACE_SRC)) $(call obj,$(SUPPORT_SRC))
INTEGRATION_HELPERS := $(call helpers,$(INTEGRATION_SRC))

TOOL_PARTS := $(filter-out %/main.o,$(call obj,$(wildcard bench/hermes-bench/*.c)))

# Tests of failing allocations replace malloc and its kin.
WRAP = $(if $(filter %_alloc_test,$@),-Wl$(comma)--wrap=malloc$(comma)--wrap=calloc$(comma)--wrap=realloc)

$(B)/test/unit/%: $(B)/obj/test/unit/%.o $(UNIT_HELPERS) $(INTERNAL)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(call LINK,$(WRAP) $< $(UNIT_HELPERS) $(INTERNAL) $(CMOCKA_LIBS))

$(B)/test/unit/bench/%: $(B)/obj/test/unit/bench/%.o $(TOOL_PARTS) $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(call LINK,$(WRAP) $< $(TOOL_PARTS) $(LIBRARY) $(CMOCKA_LIBS) -lm)

$(B)/test/race/%: $(B)/obj/test/race/%.o $(RACE_HELPERS) $(INTERNAL)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(call LINK,$(WRAP) $< $(RACE_HELPERS) $(INTERNAL) $(CMOCKA_LIBS))

$(B)/test/integration/%: $(B)/obj/test/integration/%.o $(INTEGRATION_HELPERS) $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(call LINK,$< $(INTEGRATION_HELPERS) $(LIBRARY) $(CMOCKA_LIBS))

$(B)/test/fuzz/%: $(B)/obj/test/fuzz/%.o $(INTERNAL)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(call LINK,-fsanitize=fuzzer $< $(INTERNAL))

$(BENCH_MICRO): $(B)/bench/%: $(B)/obj/bench/%.o $(INTERNAL)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(call LINK,$< $(INTERNAL) -lm)

$(filter-out $(BENCH_MICRO),$(patsubst bench/%.c,$(B)/bench/%,$(BENCH_SRC))): $(B)/bench/%: \
		$(B)/obj/bench/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(call LINK,$< $(LIBRARY) -lm)

define BENCH_DIR
$(if $(filter hermes-bench,$(1)),$(B)/$(1),$(B)/bench/$(1)): \
		$(call obj,$(wildcard bench/$(1)/*.c)) $(LIBRARY) $(B)/sources
	@mkdir -p $$(@D)
	$(SAY) LINK $$@
	$(Q)$$(call LINK,$(call obj,$(wildcard bench/$(1)/*.c)) $(LIBRARY) -lm)
endef
$(foreach dir,$(BENCH_DIRS),$(eval $(call BENCH_DIR,$(dir))))

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(CLI_OBJ) $(ECHO_OBJ) \
	$(call obj,$(UNIT_SRC) $(INTEGRATION_SRC) $(RACE_SRC) $(SUPPORT_SRC) $(FUZZ_SRC) $(BENCH_SRC) $(BENCH_DIR_SRC)))

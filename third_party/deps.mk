# The libraries Hermes stands on, as flags. pkg-config is asked first; a library without a .pc file
# (wslay 1.1.1, mbedTLS 2.28), or a machine without pkg-config, gets the plain name instead.

PKG_CONFIG ?= pkg-config

pkg_cflags = $(shell $(PKG_CONFIG) --cflags $(1) 2>/dev/null)
pkg_libs = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null || echo $(2))

# Not needed, but used where it is; `make LIBURING=` builds without it.
LIBURING := $(shell $(PKG_CONFIG) --exists 'liburing >= 2.3' 2>/dev/null && echo liburing)

DEPS_CFLAGS := $(strip $(foreach p,libuv libwslay jansson mbedtls mbedx509 mbedcrypto hiredis $(LIBURING),$(call pkg_cflags,$(p))) \
	$(if $(LIBURING),-DHERMES_LIBURING))
DEPS_LIBS := $(strip \
	$(call pkg_libs,libuv,-luv) \
	$(call pkg_libs,libwslay,-lwslay) \
	$(call pkg_libs,jansson,-ljansson) \
	$(call pkg_libs,mbedx509,-lmbedx509) \
	$(call pkg_libs,mbedtls,-lmbedtls) \
	$(call pkg_libs,mbedx509,-lmbedx509) \
	$(call pkg_libs,mbedcrypto,-lmbedcrypto) \
	$(call pkg_libs,hiredis,-lhiredis) \
	$(if $(LIBURING),$(call pkg_libs,liburing,-luring)))
CMOCKA_LIBS = $(call pkg_libs,cmocka,-lcmocka)

# What require.c finds wrong, as one text; empty when all is well. Only expanded where it is asked.
DEPS_MISSING = $(strip $(shell $(CC) $(DEPS_CFLAGS) $(CPPFLAGS) -E -o /dev/null third_party/require.c 2>&1 \
	| sed -n 's/.*\#error "\(.*\)".*/\1,/p;s/^.*not found$$/&,/p' | sort -u | tr '\n' ' ' | sed 's/, *$$//'))

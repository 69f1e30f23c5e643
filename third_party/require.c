/* Compiled for its errors only: says which library is missing or too old, one #error each. */
#ifndef __has_include
#error "this compiler knows no __has_include (gcc 5 or clang 3 do)"
#endif

#if !__has_include(<uv.h>)
#error "libuv is missing"
#else
#include <uv/version.h>
#if UV_VERSION_HEX < ((1 << 16) | (44 << 8))
#error "libuv is older than 1.44"
#endif
#endif

#if !__has_include(<wslay/wslay.h>)
#error "wslay is missing"
#else
#include <wslay/wslayver.h>
/* Not asked for its version: the header of release 1.1.1 says "1.0.1-DEV", and a text at that. */
#ifndef WSLAY_VERSION
#error "wslay/wslay.h is not wslay's"
#endif
#endif

#if !__has_include(<jansson.h>)
#error "jansson is missing"
#else
#include <jansson.h>
#if JANSSON_VERSION_HEX < 0x020e00
#error "jansson is older than 2.14"
#endif
#endif

#if !__has_include(<mbedtls/version.h>)
#error "mbedTLS is missing"
#else
#include <mbedtls/version.h>
#if MBEDTLS_VERSION_NUMBER < 0x021c0000
#error "mbedTLS is older than 2.28"
#elif MBEDTLS_VERSION_NUMBER >= 0x04000000
#error "mbedTLS is newer than 3.6"
#elif !__has_include(<mbedtls/ssl.h>)
#error "mbedTLS is there without its TLS"
#endif
#endif

#if !__has_include(<hiredis/hiredis.h>)
#error "hiredis is missing"
#else
#include <hiredis/hiredis.h>
#if HIREDIS_MAJOR == 0 && (HIREDIS_MINOR < 14 || (HIREDIS_MINOR == 14 && HIREDIS_PATCH < 1))
#error "hiredis is older than 0.14.1"
#endif
#endif

/* What deps.mk found is there to be included; without, Hermes sends to each client by itself. */
#if defined(HERMES_LIBURING) && !__has_include(<liburing.h>)
#error "liburing's header is missing"
#endif

#include "auth/curve.h"

#include <string.h>

/* The type of key, id-ecPublicKey, and behind it the curve: RFC 5480, section 2. */
#define EC "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"

struct text curve_der_head(enum auth_kind kind)
{
    switch (kind) {
    case AUTH_P256:
        return TEXT("\x30\x59\x30\x13" EC "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
                    "\x03\x42\x00\x04");
    case AUTH_P384:
        return TEXT("\x30\x76\x30\x10" EC "\x06\x05\x2b\x81\x04\x00\x22"
                    "\x03\x62\x00\x04");
    case AUTH_P521:
        return TEXT("\x30\x81\x9b\x30\x10" EC "\x06\x05\x2b\x81\x04\x00\x23"
                    "\x03\x81\x86\x00\x04");
    case AUTH_SECRET:
    case AUTH_RSA:
        break;
    }
    return (struct text){NULL, 0};
}

/* Without zeros in front, and with one where the number would be negative; the length of it. */
static size_t number_to_der(const unsigned char *number, size_t len, unsigned char *der)
{
    while (len > 1 && *number == 0) {
        number++;
        len--;
    }
    size_t zero = *number >> 7;
    der[0] = 0x02;
    der[1] = (unsigned char)(len + zero);
    der[2] = 0;
    memcpy(der + 2 + zero, number, len);
    return 2 + zero + len;
}

size_t curve_signature_to_der(
    enum auth_kind kind, const unsigned char *raw, unsigned char der[CURVE_SIGNATURE_DER_MAX])
{
    unsigned char numbers[2 * (2 + 1 + 66)];
    size_t bytes = auth_curve_bytes(kind);
    size_t len = number_to_der(raw, bytes, numbers);
    len += number_to_der(raw + bytes, bytes, numbers + len);
    size_t at = 0;
    der[at++] = 0x30;
    if (len > 0x7f)
        der[at++] = 0x81;
    der[at++] = (unsigned char)len;
    memcpy(der + at, numbers, len);
    return at + len;
}

static bool number_from_der(
    const unsigned char **der, const unsigned char *end, unsigned char *number, size_t bytes)
{
    const unsigned char *at = *der;
    if (end - at < 2 || at[0] != 0x02 || at[1] > end - at - 2)
        return false;
    size_t len = at[1];
    at += 2;
    *der = at + len;
    for (; len > 0 && *at == 0; len--)
        at++;
    if (len > bytes)
        return false;
    memset(number, 0, bytes - len);
    memcpy(number + bytes - len, at, len);
    return true;
}

bool curve_signature_from_der(
    enum auth_kind kind, const unsigned char *der, size_t len, unsigned char *raw)
{
    size_t bytes = auth_curve_bytes(kind);
    const unsigned char *end = der + len;
    size_t head = len > 2 && der[1] == 0x81 ? 3 : 2;
    if (len <= head || der[0] != 0x30 || der[head - 1] != len - head)
        return false;
    der += head;
    return number_from_der(&der, end, raw, bytes) &&
           number_from_der(&der, end, raw + bytes, bytes) && der == end;
}

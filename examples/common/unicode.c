#include "unicode.h"

#include <utf8proc.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

typedef struct {
    int32_t first, last;
} range;

/* Assigned after Unicode 15.0. Source: Unicode Character Database, DerivedGeneralCategory.txt and UnicodeData.txt. */
static const range new_letters[] = {
    { 0x1C89, 0x1C8A },   { 0xA7CB, 0xA7CD },   { 0xA7DA, 0xA7DC },   { 0x105C0, 0x105F3 }, { 0x10D4A, 0x10D65 },
    { 0x10D6F, 0x10D85 }, { 0x10EC2, 0x10EC4 }, { 0x11380, 0x11389 }, { 0x1138B, 0x1138B }, { 0x1138E, 0x1138E },
    { 0x11390, 0x113B5 }, { 0x113B7, 0x113B7 }, { 0x113D1, 0x113D1 }, { 0x113D3, 0x113D3 }, { 0x11BC0, 0x11BE0 },
    { 0x13460, 0x143FA }, { 0x16100, 0x1611D }, { 0x16D40, 0x16D6C }, { 0x18CFF, 0x18CFF }, { 0x1E5D0, 0x1E5ED },
    { 0x1E5F0, 0x1E5F0 }, { 0x2EBF0, 0x2EE5D },
};
static const range new_numbers[] = {
    { 0x10D40, 0x10D49 }, { 0x116D0, 0x116E3 }, { 0x11BF0, 0x11BF9 }, { 0x11DE0, 0x11DE9 }, { 0x16130, 0x16139 },
    { 0x16D70, 0x16D79 }, { 0x16FF4, 0x16FF6 }, { 0x1CCF0, 0x1CCF9 }, { 0x1E5F1, 0x1E5FA },
};
static const struct {
    int32_t first, last, distance;
} new_capitals[] = {
    { 0x1C89, 0x1C89, 1 },      { 0xA7CB, 0xA7CB, 0x264 - 0xA7CB },
    { 0xA7CC, 0xA7CC, 1 },      { 0xA7CE, 0xA7CE, 1 },
    { 0xA7D2, 0xA7D2, 1 },      { 0xA7D4, 0xA7D4, 1 },
    { 0xA7DA, 0xA7DA, 1 },      { 0xA7DC, 0xA7DC, 0x19B - 0xA7DC },
    { 0x10D50, 0x10D65, 0x20 }, { 0x16EA0, 0x16EB8, 0x1B },
};

static bool in_ranges(const range *ranges, size_t n, int32_t c)
{
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return true;
    return false;
}

size_t unicode_valid_bytes(const char *text, size_t bytes)
{
    size_t at = 0;

    while (at < bytes) {
        if ((unsigned char)text[at] < 0x80) {
            at++;
            continue;
        }
        utf8proc_int32_t c;
        const size_t left = bytes - at;
        const utf8proc_ssize_t length =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, left < 4 ? (utf8proc_ssize_t)left : 4, &c);
        if (length <= 0) break;
        at += (size_t)length;
    }
    return at;
}

int32_t unicode_decode(const char *text, size_t bytes, size_t *length)
{
    utf8proc_int32_t c = (unsigned char)text[0];

    *length = 1;
    if (c >= 0x80)
        *length = (size_t)utf8proc_iterate((const utf8proc_uint8_t *)text, bytes < 4 ? (utf8proc_ssize_t)bytes : 4, &c);
    return c;
}

bool unicode_is_letter(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return true;
    case UTF8PROC_CATEGORY_CN: return in_ranges(new_letters, LENGTH(new_letters), c);
    default: return false;
    }
}

bool unicode_is_number(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return true;
    case UTF8PROC_CATEGORY_CN: return in_ranges(new_numbers, LENGTH(new_numbers), c);
    default: return false;
    }
}

bool unicode_is_space(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return true;
    default: return (c >= '\t' && c <= '\r') || c == 0x85;
    }
}

int32_t unicode_lower(int32_t c)
{
    for (size_t i = 0; i < LENGTH(new_capitals); i++)
        if (c >= new_capitals[i].first && c <= new_capitals[i].last) return c + new_capitals[i].distance;
    return utf8proc_tolower(c);
}

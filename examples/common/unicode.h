/* unicode.h - what the tokenizers ask about text: is it UTF-8, and what kind of character is this?
 *
 * The categories are those of Unicode 16 (numbers: 17), as in the references that the tokenizers are held against:
 * utf8proc's own, and a small table of what the utf8proc of Debian 12 (Unicode 15) does not know yet. */
#ifndef UNICODE_H
#define UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Offset of the first byte that does not begin a well-formed UTF-8 sequence (overlong forms, surrogates and code points
 * above U+10FFFF are not well-formed); bytes if there is none. */
size_t unicode_valid_bytes(const char *text, size_t bytes);

/* The code point at text, which has been checked and holds at least one byte; *length is its size in bytes. */
int32_t unicode_decode(const char *text, size_t bytes, size_t *length);

bool unicode_is_letter(int32_t c); /* \p{L} */
bool unicode_is_number(int32_t c); /* \p{N} */
bool unicode_is_space(int32_t c);  /* \s, White_Space */
int32_t unicode_lower(int32_t c);  /* one code point to one code point */

#endif

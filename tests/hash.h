/* hash.h - compare with what the reference packages made of the same inputs (tests/golden/make_file_golden.py). */
#ifndef TEST_HASH_H
#define TEST_HASH_H

#include "expect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* h = h * K + byte over the bytes, modulo 2^64 */
static inline uint64_t hash_bytes(const void *bytes, size_t size, uint64_t h)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++) h = h * 0x100000001b3u + p[i];
    return h;
}

/* The row `name` of file_hashes.tsv. */
static inline uint64_t reference_hash(const char *name)
{
    FILE *f = fopen(TEST_DIR "/golden/file_hashes.tsv", "r");
    char line[200];
    const size_t n = strlen(name);
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, name, n) != 0 || line[n] != '\t') continue;
        fclose(f);
        return strtoull(line + n, NULL, 16);
    }
    ck_abort_msg("no hash \"%s\"", name);
    return 0;
}

static inline void expect_hash(const char *name, uint64_t h)
{
    ck_assert_msg(h == reference_hash(name), "%s: hash %016" PRIx64 ", the reference's is %016" PRIx64, name, h,
                  reference_hash(name));
}

/* The next value of the script's random_words; *state starts at 1. */
static inline uint32_t random_word(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* A whole file in memory of exactly its size, for free. */
static inline unsigned char *load(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f, "cannot open %s", path);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*size ? *size : 1);
    ck_assert_uint_eq(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

#endif

/* bpe.c - the byte-level BPE tokenizer: what it is built from, its ids against those of the `tokenizers` library. */
#include "bpe.h"
#include "bpe_gguf.h"
#include "bpe_split.h"

#include "tokens.h"

#include <unistd.h>

static char error[300];

/* A tokenizer of the 256 bytes, `extra` tokens behind them, and merges; both lists end with NULL. */
typedef struct {
    bpe_string tokens[400], merges[100];
    int32_t types[400];
    char text[400][3];
    bpe_source source;
} parts;

static bpe_string string(const char *text)
{
    return (bpe_string){ text, strlen(text) };
}

/* Token k stands for byte k: the visible Latin-1 characters for themselves, the others for U+0100 and so on. */
static parts *parts_create(const char *const *extra, const char *const *merges)
{
    parts *p = calloc(1, sizeof *p);
    int32_t other = 0x100;

    p->source = (bpe_source){ .pre = "smollm", .tokens = p->tokens, .types = p->types, .merges = p->merges };
    for (int32_t k = 0; k < 256; k++) {
        const bool visible = (k > ' ' && k < 0x7F) || (k > 0xA0 && k != 0xAD);
        utf8proc_encode_char(visible ? k : other++, (utf8proc_uint8_t *)p->text[k]);
        p->tokens[k] = string(p->text[k]);
        p->types[k] = 1;
    }
    for (p->source.n_tokens = 256; *extra; extra++) {
        p->types[p->source.n_tokens] = **extra == '<' ? 3 : **extra == '{' ? 4 : 1;
        p->tokens[p->source.n_tokens++] = string(*extra);
    }
    for (; *merges; merges++) p->merges[p->source.n_merges++] = string(*merges);
    return p;
}

#define SPACE "\xC4\xA0" /* U+0120, what a token has for a space */
static const char *const tokens[] = { "ab", "abc", "bc",  "cd",   SPACE "a", SPACE "ab",
                                      "aa", "aaa", "<s>", "<s>x", "{u}",     NULL };
static const char *const merges[] = { "b c", SPACE " a", "a b", SPACE "a b", "ab c", "c d", "a a", "a aa", NULL };
enum { AB = 256, ABC, BC, CD, SPACE_A, SPACE_AB, AA, AAA, S, SX, U };

static bpe *create(void)
{
    parts *p = parts_create(tokens, merges);
    bpe *b;

    ck_assert_msg(bpe_create(&b, &p->source, error, sizeof error), "%s", error);
    free(p); /* everything was copied */
    return b;
}

/* ---- what is refused ---- */

static const struct {
    const char *extra[4], *merges[4];
    const char *reason;
} bad[] = {
    { { "ab", "ab" }, { NULL }, "tokens 256 and 257 are the same" },
    { { "a" }, { NULL }, "tokens 97 and 256 are the same" },
    { { "ab", "" }, { NULL }, "token 257 is empty" },
    { { "\xC3" }, { NULL }, "token 256 is not UTF-8" },
    { { "ab" }, { "a b", "b c" }, "merge 1 is not two tokens" },
    { { "ab" }, { "ab" }, "merge 0 is not two tokens" },
    { { "ab" }, { "" }, "merge 0 is not two tokens" },
    { { "ab" }, { " ab" }, "merge 0 is not two tokens" },
    { { "ab" }, { "ab " }, "merge 0 is not two tokens" },
    { { "ab" }, { "a  b" }, "merge 0 is not two tokens" },
    { { "ab" }, { "a b", "a b" }, "merges 0 and 1 are the same" },
};

START_TEST(a_bad_source_is_refused)
{
    parts *p = parts_create(bad[_i].extra, bad[_i].merges);
    bpe *b;

    ck_assert(!bpe_create(&b, &p->source, error, sizeof error));
    ck_assert_msg(strstr(error, bad[_i].reason) != NULL, "said: %s", error);
    ck_assert_ptr_null(b);
    free(p);
}
END_TEST

START_TEST(another_rule_of_words_is_refused)
{
    parts *p = parts_create(tokens, merges);
    bpe *b;

    p->source.pre = "llama-bpe";
    ck_assert(!bpe_create(&b, &p->source, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "\"llama-bpe\""));
    p->source.pre = "smollm";
    p->source.n_tokens = 0;
    ck_assert(!bpe_create(&b, &p->source, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "0 tokens"));
    bpe_destroy(b);
    free(p);
}
END_TEST

START_TEST(a_file_without_this_kind_of_tokenizer_is_refused)
{
    static const struct {
        const char *model, *reason;
    } file_of[] = { { "llama", "tokenizer.ggml.model is \"llama\"" }, { "gpt2", "tokenizer.ggml.tokens: not a list" } };
    char path[] = "/tmp/clpeft-bpe-XXXXXX";
    clpeft_file *file;
    bpe *b;

    close(mkstemp(path));
    for (size_t i = 0; i < LENGTH(file_of); i++) {
        const clpeft_gguf_meta meta = { .key = "tokenizer.ggml.model",
                                        .type = CLPEFT_GGUF_STRING,
                                        .string = file_of[i].model };
        ck_assert_int_eq(CLPEFT_OK, clpeft_gguf_write(path, &meta, 1, NULL, 0));
        ck_assert_int_eq(CLPEFT_OK, clpeft_file_open(&file, path));
        ck_assert(!bpe_from_gguf(&b, file, error, sizeof error));
        ck_assert_msg(strstr(error, file_of[i].reason) != NULL, "said: %s", error);
        ck_assert_ptr_null(b);
        clpeft_file_close(file);
    }
    unlink(path);
}
END_TEST

/* ---- texts by hand ---- */

static const struct {
    const char *text, *words; /* the words with a bar between them */
} split[] = {
    { "Hello  world", "Hello| | world" },
    { "a 12 b", "a| |1|2| b" },
    { "x  7", "x|  |7" },
    { "end  ", "end|  " },
    { "a\n\n b", "a|\n\n| b" },
    { "a\n b", "a|\n| b" },
    { "a\tb", "a|\t|b" },
    { "a \xC2\xA0"
      "b",
      "a| |\xC2\xA0|b" },
    { "don't 'S 'ts", "don|'t| '|S| '|ts" },
    { "'ll've'red'm'", "'ll|'ve|'re|d|'m|'" },
    { "a!?b ,c", "a|!?|b| ,|c" },
    { "?'s", "?'|s" },
    { "\xC3\xA9t\xC3\xA9 e\xCC\x81", "\xC3\xA9t\xC3\xA9| e|\xCC\x81" },
    { "\xC2\xBDx\xE2\x85\xA7", "\xC2\xBD|x|\xE2\x85\xA7" },
    { "a\xF0\xAE\xAF\xB0 \xF0\x96\xBF\xB4\xF0\x96\xBF\xB4", /* a letter of Unicode 15.1, two numbers of Unicode 17 */
      "a\xF0\xAE\xAF\xB0| |\xF0\x96\xBF\xB4|\xF0\x96\xBF\xB4" },
};

START_TEST(text_is_split_into_words)
{
    const char *text = split[_i].text;
    char found[100] = "";

    for (size_t left = strlen(text); left > 0;) {
        const size_t length = bpe_split(text, left);
        ck_assert_uint_gt(length, 0);
        if (found[0]) strcat(found, "|");
        strncat(found, text, length);
        text += length, left -= length;
    }
    ck_assert_str_eq(split[_i].words, found);
}
END_TEST

static const struct {
    const char *text;
    bool control;
    int32_t ids[12]; /* ends with -1 */
} known[] = {
    { "", true, { -1 } },
    { "abcd", true, { 'a', BC, 'd', -1 } }, /* b c is first in the list; then neither a bc nor bc d is there */
    { "ab", true, { AB, -1 } },
    { "acd", true, { 'a', CD, -1 } },
    { "aaaa", true, { AA, AA, -1 } }, /* the leftmost first */
    { "aaa", true, { AA, 'a', -1 } },
    { "x ab", true, { 'x', SPACE_AB, -1 } },
    { " a", true, { SPACE_A, -1 } },
    { "1 ab2", true, { '1', SPACE_AB, '2', -1 } },
    { "\x01\xC3\xA9", true, { 1, 0xC3, 0xA9, -1 } },
    { "a<s>b", true, { 'a', S, 'b', -1 } },
    { "a<s>xb", true, { 'a', SX, 'b', -1 } }, /* the longest of them */
    { "<s><s", true, { S, '<', 's', -1 } },
    { "<s>", false, { '<', 's', '>', -1 } },
    { "{u}<s>", false, { U, '<', 's', '>', -1 } },
    { " {u} a", true, { ' ', U, SPACE_A, -1 } },
};

START_TEST(small_texts_have_these_ids)
{
    bpe *b = create();
    const size_t bytes = strlen(known[_i].text);
    int32_t *ids = malloc(bytes * sizeof *ids);
    size_t n;

    ck_assert(bpe_encode(b, known[_i].text, bytes, known[_i].control, ids, &n, error, sizeof error));
    for (size_t i = 0; i <= n; i++) ck_assert_int_eq(i == n ? -1 : ids[i], known[_i].ids[i]);
    free(ids);
    bpe_destroy(b);
}
END_TEST

START_TEST(a_byte_without_a_token_is_left_out)
{
    parts *p = parts_create(tokens, merges);
    int32_t ids[3];
    bpe *b;
    size_t n;

    p->tokens['b'] = string("another");
    p->source.n_merges = 0;
    ck_assert_msg(bpe_create(&b, &p->source, error, sizeof error), "%s", error);
    ck_assert(bpe_encode(b, "abc", 3, true, ids, &n, error, sizeof error));
    ck_assert_uint_eq(2, n);
    ck_assert_int_eq('c', ids[1]);
    bpe_destroy(b);
    free(p);
}
END_TEST

START_TEST(ids_are_decoded_to_bytes)
{
    bpe *b = create();
    size_t bytes;

    ck_assert_uint_eq(U + 1, bpe_size(b));
    for (int32_t id = 0; id < 256; id++) {
        const char *text = bpe_decode(b, id, &bytes);
        ck_assert_uint_eq(1, bytes);
        ck_assert_int_eq(id, (unsigned char)text[0]);
        ck_assert(!bpe_is_control(b, id));
    }
    ck_assert(memcmp(" ab", bpe_decode(b, SPACE_AB, &bytes), 3) == 0 && bytes == 3);
    ck_assert(memcmp("<s>x", bpe_decode(b, SX, &bytes), 4) == 0 && bytes == 4);
    ck_assert(bpe_is_control(b, S) && bpe_is_control(b, SX) && !bpe_is_control(b, U));
    ck_assert_ptr_null(bpe_decode(b, -1, &bytes));
    ck_assert_ptr_null(bpe_decode(b, U + 1, &bytes));
    ck_assert(!bpe_is_control(b, -1) && !bpe_is_control(b, U + 1));
    bpe_destroy(b);
}
END_TEST

START_TEST(invalid_utf8_is_refused_with_its_offset)
{
    bpe *b = create();
    char expected[60];
    int32_t ids[10];
    size_t n = 9;

    snprintf(expected, sizeof expected, "invalid UTF-8 at byte %zu", not_utf8[_i].bad);
    ck_assert(!bpe_encode(b, not_utf8[_i].text, strlen(not_utf8[_i].text), true, ids, &n, error, sizeof error));
    ck_assert_str_eq(expected, error);
    ck_assert_uint_eq(0, n);
    bpe_destroy(b);
}
END_TEST

/* ---- properties ---- */

/* The merges as they are defined: as long as any pair is in the list, join the first of the list at its first place. */
static size_t join_slowly(const char *word, size_t bytes, int32_t *ids)
{
    static const int32_t pair[][3] = {
        { 'b', 'c', BC }, { ' ', 'a', SPACE_A }, { 'a', 'b', AB }, { SPACE_A, 'b', SPACE_AB },
        { AB, 'c', ABC }, { 'c', 'd', CD },      { 'a', 'a', AA }, { 'a', AA, AAA },
    };
    size_t n = bytes;

    for (size_t i = 0; i < n; i++) ids[i] = (unsigned char)word[i];
    for (size_t k = 0; k < LENGTH(pair); k++)
        for (size_t i = 0; i + 1 < n; i++) {
            if (ids[i] != pair[k][0] || ids[i + 1] != pair[k][1]) continue;
            ids[i] = pair[k][2];
            memmove(ids + i + 1, ids + i + 2, (--n - i - 1) * sizeof *ids);
            k = SIZE_MAX; /* from the top of the list */
            break;
        }
    return n;
}

START_TEST(words_are_joined_as_the_definition_says)
{
    bpe *b = create();
    uint64_t state = 5;

    for (int round = 0; round < 3000; round++) {
        const size_t bytes = 1 + random_bits(&state) % (round % 60 + 1);
        char *word = malloc(bytes);
        int32_t *ids = malloc(bytes * sizeof *ids), *slow = malloc(bytes * sizeof *slow);
        size_t n;
        word[0] = round % 2 ? ' ' : 'b';
        for (size_t i = 1; i < bytes; i++) word[i] = "aabcd"[random_bits(&state) % 5];
        ck_assert(bpe_encode(b, word, bytes, true, ids, &n, error, sizeof error));
        ck_assert_uint_eq(join_slowly(word, bytes, slow), n);
        ck_assert(memcmp(ids, slow, n * sizeof *ids) == 0);
        free(word), free(ids), free(slow);
    }
    bpe_destroy(b);
}
END_TEST

/* The bytes of the ids are the text, as far as every byte has a token. */
static void check_round_trip(const bpe *b, const char *text, size_t bytes, const int32_t *ids, size_t n)
{
    size_t at = 0, length;

    ck_assert_uint_le(n, bytes);
    for (size_t i = 0; i < n; i++, at += length) {
        const char *piece = bpe_decode(b, ids[i], &length);
        ck_assert_ptr_nonnull(piece);
        ck_assert_uint_le(length, bytes - at);
        ck_assert(memcmp(piece, text + at, length) == 0);
    }
    ck_assert_uint_eq(bytes, at);
}

START_TEST(no_text_breaks_it)
{
    const blob hostile = blob_read(GOLDEN "/hostile.txt");
    bpe *b = create();
    uint64_t state = 9;
    size_t taken = 0;

    for (int round = 0; round < 5000; round++) {
        const size_t room = 1 + round % 300;
        char *text = malloc(room);
        const size_t bytes = random_text(&state, hostile, text, room);
        int32_t *ids = malloc(bytes * sizeof *ids);
        size_t n;
        if (bpe_encode(b, text, bytes, round % 2, ids, &n, error, sizeof error)) {
            taken++;
            check_round_trip(b, text, bytes, ids, n);
        } else {
            ck_assert_uint_eq(0, n);
            ck_assert_uint_lt(strtoul(strrchr(error, ' '), NULL, 10), bytes);
        }
        free(text), free(ids);
    }
    ck_assert_uint_gt(taken, 500);
    bpe_destroy(b);
    free(hostile.text);
}
END_TEST

START_TEST(a_word_of_a_million_letters_takes_no_time)
{
    const size_t bytes = 1000000;
    char *text = malloc(bytes);
    int32_t *ids = malloc(bytes * sizeof *ids);
    bpe *b = create();
    size_t n;

    memset(text, 'a', bytes);
    ck_assert(bpe_encode(b, text, bytes, true, ids, &n, error, sizeof error));
    ck_assert_uint_eq(bytes / 2, n);
    for (size_t i = 0; i < n; i++) ck_assert_int_eq(AA, ids[i]);
    bpe_destroy(b);
    free(text), free(ids);
}
END_TEST

/* ---- SmolLM2's ids ---- */

static const char *const kind[] = { "bpe", "bpe plain" }; /* control tokens are found in text, or are text */
static bpe *smollm2;

static size_t encode_control(const void *tokenizer, const char *text, size_t bytes, int32_t *ids)
{
    size_t n;
    ck_assert_msg(bpe_encode(tokenizer, text, bytes, true, ids, &n, error, sizeof error), "%s", error);
    return n;
}

static size_t encode_plain(const void *tokenizer, const char *text, size_t bytes, int32_t *ids)
{
    size_t n;
    ck_assert_msg(bpe_encode(tokenizer, text, bytes, false, ids, &n, error, sizeof error), "%s", error);
    return n;
}

static const encode_text encode[] = { encode_control, encode_plain };

static void open_model(void)
{
    clpeft_file *file;

    ck_assert_msg(clpeft_file_open(&file, getenv("CLPEFT_TEST_GGUF")) == CLPEFT_OK, "%s", clpeft_error_message());
    ck_assert_msg(bpe_from_gguf(&smollm2, file, error, sizeof error), "%s", error);
    clpeft_file_close(file);
    ck_assert_uint_eq(49152, bpe_size(smollm2));
}

START_TEST(hostile_unicode_has_the_ids_of_smollm2)
{
    open_model();
    if (_i == 0) check_hostile_ids(encode[_i], smollm2, GOLDEN "/hostile_bpe.txt");
    check_hostile(encode[_i], smollm2, kind[_i]);
    bpe_destroy(smollm2);
}
END_TEST

START_TEST(every_code_point_has_the_ids_of_smollm2)
{
    open_model();
    check_sweep(encode[0], smollm2, kind[0]);
    bpe_destroy(smollm2);
}
END_TEST

START_TEST(wordnet_has_the_ids_of_smollm2)
{
    open_model();
    check_rows(encode[_i], smollm2, kind[_i], "wordnet", getenv("CLPEFT_TEST_WORDNET"));
    bpe_destroy(smollm2);
}
END_TEST

START_TEST(bbc_news_has_the_ids_of_smollm2)
{
    open_model();
    check_rows(encode[_i], smollm2, kind[_i], "bbc", getenv("CLPEFT_TEST_BBC"));
    bpe_destroy(smollm2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bpe");
    TCase *t = tcase_create("bpe");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, t);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, a_bad_source_is_refused, 0, LENGTH(bad));
    tcase_add_test(t, another_rule_of_words_is_refused);
    tcase_add_test(t, a_file_without_this_kind_of_tokenizer_is_refused);
    tcase_add_loop_test(t, text_is_split_into_words, 0, LENGTH(split));
    tcase_add_loop_test(t, small_texts_have_these_ids, 0, LENGTH(known));
    tcase_add_test(t, a_byte_without_a_token_is_left_out);
    tcase_add_test(t, ids_are_decoded_to_bytes);
    tcase_add_loop_test(t, invalid_utf8_is_refused_with_its_offset, 0, LENGTH(not_utf8));
    tcase_add_test(t, words_are_joined_as_the_definition_says);
    tcase_add_test(t, no_text_breaks_it);
    tcase_add_test(t, a_word_of_a_million_letters_takes_no_time);
    if (data_path("CLPEFT_TEST_GGUF", "the ids of SmolLM2")) {
        tcase_add_loop_test(t, hostile_unicode_has_the_ids_of_smollm2, 0, 2);
        tcase_add_test(t, every_code_point_has_the_ids_of_smollm2);
        if (data_path("CLPEFT_TEST_WORDNET", "the ids of WordNet"))
            tcase_add_loop_test(t, wordnet_has_the_ids_of_smollm2, 0, 2);
        if (data_path("CLPEFT_TEST_BBC", "the ids of BBC News"))
            tcase_add_loop_test(t, bbc_news_has_the_ids_of_smollm2, 0, 2);
    }
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

/* wordpiece.c - the tokenizer of BERT: what vocabularies it takes, its ids against BertTokenizer's, hostile text. */
#include "wordpiece.h"

#include "tokens.h"

#include <unistd.h>

static char error[300];

/* A vocabulary for texts by hand: the ids are the line numbers. */
#define SPECIAL "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
static const char small[] =
    SPECIAL "a\nab\nabc\n##c\n##cd\n##d\nB\nb\n,\n[\n]\ncafe\n\xE4\xB8\xAD\n##e\n##\xE1\x86\xAB\n"
            "\xE1\x84\x92\n##\xE1\x85\xA1\n\xC3\xA9\n\xC9\xA4\n";
enum { UNK = 1, CLS, SEP, MASK, A, AB, ABC, C_, CD_, D_, UPPER_B, B, COMMA, OPEN };
enum { CLOSE = OPEN + 1, CAFE, MIDDLE, E_, N_, H, A_, ACUTE, RAMS_HORN, N_SMALL };

static void write_file(const char *path, const char *text, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(bytes, fwrite(text, 1, bytes, file));
    fclose(file);
}

static wordpiece *create(const char *text, size_t bytes, bool lower)
{
    char path[] = "/tmp/clpeft-vocab-XXXXXX";
    wordpiece *w;

    close(mkstemp(path));
    write_file(path, text, bytes);
    wordpiece_create(&w, path, lower, error, sizeof error);
    unlink(path);
    return w;
}

/* ---- vocabularies ---- */

static const struct {
    const char *text;
    size_t bytes;
    const char *reason;
} bad_vocab[] = {
#define BAD(text, reason)              \
    {                                  \
        text, sizeof(text) - 1, reason \
    }
    BAD("", "no tokens"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[SEP]\nx\n", "[MASK] is missing"),
    BAD("[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "[PAD] is missing"),
    BAD("\xEF\xBB\xBF" SPECIAL, "[PAD] is missing"),
    BAD(SPECIAL "x\ny\nx\n", "line 8: the same token as in line 6"),
    BAD(SPECIAL "x\nx\r\n", "line 7: the same token as in line 6"),
    BAD(SPECIAL "x\n\ny\n", "line 7: empty"),
    BAD(SPECIAL "x\n\r\ny\n", "line 7: empty"),
    BAD(SPECIAL "x\nab\0c\ny\n", "line 7: holds a NUL byte"),
    BAD(SPECIAL "x\nab\xC3\ny\n", "line 7: invalid UTF-8 at byte 2"),
    BAD(SPECIAL "\xED\xA0\x80", "line 6: invalid UTF-8 at byte 0"),
};

START_TEST(a_bad_vocabulary_is_refused_with_its_line)
{
    ck_assert_ptr_null(create(bad_vocab[_i].text, bad_vocab[_i].bytes, true));
    ck_assert_msg(strstr(error, bad_vocab[_i].reason) != NULL, "said: %s", error);
    ck_assert_ptr_nonnull(strstr(error, "/tmp/clpeft-vocab-"));
}
END_TEST

START_TEST(a_file_that_is_no_vocabulary_is_refused)
{
    char path[] = "/tmp/clpeft-vocab-XXXXXX";
    wordpiece *w;

    ck_assert(!wordpiece_create(&w, "/tmp", true, error, sizeof error));
    ck_assert_str_eq(error, "/tmp: not a regular file");
    close(mkstemp(path));
    ck_assert_int_eq(0, truncate(path, (64 << 20) + 1));
    ck_assert(!wordpiece_create(&w, path, true, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "67108865 bytes"));
    unlink(path);
    ck_assert(!wordpiece_create(&w, path, true, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "No such file"));
    ck_assert_ptr_null(w);
    wordpiece_destroy(w);
}
END_TEST

START_TEST(line_ends_of_both_kinds_are_taken)
{
    static const char crlf[] = "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\nx";
    wordpiece *w = create(crlf, sizeof crlf - 1, true);
    int32_t ids[3];
    size_t n;

    ck_assert_msg(w != NULL, "%s", error);
    ck_assert_uint_eq(6, wordpiece_size(w));
    ck_assert(wordpiece_encode(w, "X", 1, 3, ids, &n, error, sizeof error));
    ck_assert_uint_eq(3, n);
    ck_assert_int_eq(5, ids[1]);
    wordpiece_destroy(w);
}
END_TEST

/* ---- texts by hand ---- */

static const struct {
    const char *text;
    bool lower;
    size_t max;
    int32_t ids[12]; /* between [CLS] and [SEP]; ends with 0 */
} known[] = {
    { "", true, 9, { 0 } },
    { " \t\r\n ", true, 9, { 0 } },
    { "a ab  abc", true, 9, { A, AB, ABC } },
    { "abcd abcdc acd", true, 9, { ABC, D_, ABC, D_, C_, A, CD_ } }, /* the longest first, without a way back */
    { "abx a", true, 9, { UNK, A } },                                /* a word is whole or unknown */
    { "a,ab", true, 9, { A, COMMA, AB } },
    { "B b", true, 9, { B, B } },
    { "B b", false, 9, { UPPER_B, B } },
    { "CAF\xC3\x89", true, 9, { CAFE } }, /* E with acute, composed and decomposed */
    { "CAFE\xCC\x81", true, 9, { CAFE } },
    { "\xC3\xA9", false, 9, { ACUTE } },        /* cased: not decomposed */
    { "\xED\x95\x9C", true, 9, { H, A_, N_ } }, /* Hangul falls apart into H, A, N */
    { "a\xE4\xB8\xAD"
      "b",
      true,
      9,
      { A, MIDDLE, B } },
    { "a\xE2\x80\x8B"
      "b a\x01"
      "b\xEF\xBF\xBD",
      true,
      9,
      { AB, AB } },                             /* zero width space, control, U+FFFD */
    { "\xEA\x9F\x8B", true, 9, { RAMS_HORN } }, /* a capital of Unicode 16 */
    { "[MASK]a[SEP] [mask]", true, 12, { MASK, A, SEP, OPEN, UNK, CLOSE } },
    { "[MASK", true, 9, { OPEN, UNK } },
    { "a b a b a", true, 5, { A, B, A } }, /* room for three */
    { "b abcdc", true, 4, { B, ABC } },    /* a word is cut */
    { "b abcdx", true, 3, { B } },
    { "b abcdx", true, 4, { B, UNK } },
    { "a [MASK]", true, 3, { A } },
    { "a", true, 2, { 0 } },
};

START_TEST(small_texts_have_these_ids)
{
    wordpiece *w = create(small, sizeof small - 1, known[_i].lower);
    int32_t ids[16];
    size_t n;

    ck_assert_msg(w != NULL, "%s", error);
    ck_assert_uint_eq(N_SMALL, wordpiece_size(w));
    ids[known[_i].max] = -7;
    ck_assert(wordpiece_encode(w, known[_i].text, strlen(known[_i].text), known[_i].max, ids, &n, error, sizeof error));
    ck_assert_int_eq(-7, ids[known[_i].max]);
    ck_assert_int_eq(CLS, ids[0]);
    ck_assert_int_eq(SEP, ids[n - 1]);
    for (size_t i = 1; i < n; i++) ck_assert_int_eq(i + 1 == n ? 0 : ids[i], known[_i].ids[i - 1]);
    wordpiece_destroy(w);
}
END_TEST

START_TEST(a_word_of_101_characters_is_unknown)
{
    wordpiece *w = create(small, sizeof small - 1, true);
    char text[400] = "";
    int32_t ids[200];
    size_t n;

    for (int i = 0; i < 100; i++) strcat(text, i == 0 ? "a" : "c");
    ck_assert(wordpiece_encode(w, text, strlen(text), 200, ids, &n, error, sizeof error));
    ck_assert_uint_eq(102, n);
    ck_assert_int_eq(C_, ids[100]);
    strcat(text, "\xCC\x81"); /* an accent does not count */
    ck_assert(wordpiece_encode(w, text, strlen(text), 200, ids, &n, error, sizeof error));
    ck_assert_uint_eq(102, n);
    strcat(text, "c");
    ck_assert(wordpiece_encode(w, text, strlen(text), 200, ids, &n, error, sizeof error));
    ck_assert_uint_eq(3, n);
    ck_assert_int_eq(UNK, ids[1]);
    wordpiece_destroy(w);
}
END_TEST

START_TEST(invalid_utf8_is_refused_with_its_offset)
{
    wordpiece *w = create(small, sizeof small - 1, true);
    char expected[60];
    int32_t ids[4];
    size_t n = 9;

    snprintf(expected, sizeof expected, "invalid UTF-8 at byte %zu", not_utf8[_i].bad);
    ck_assert(!wordpiece_encode(w, not_utf8[_i].text, strlen(not_utf8[_i].text), 4, ids, &n, error, sizeof error));
    ck_assert_str_eq(expected, error);
    ck_assert_uint_eq(0, n);
    wordpiece_destroy(w);
}
END_TEST

START_TEST(two_ids_are_the_least)
{
    wordpiece *w = create(small, sizeof small - 1, true);
    int32_t ids[2];
    size_t n;

    for (size_t max = 0; max < 2; max++) {
        ck_assert(!wordpiece_encode(w, "a", 1, max, ids, &n, error, sizeof error));
        ck_assert_ptr_nonnull(strstr(error, "tokens"));
    }
    wordpiece_destroy(w);
}
END_TEST

/* Whatever the bytes: refused where they are not UTF-8, else ids in the vocabulary, and a shorter room holds the same
 * first pieces. */
START_TEST(no_text_breaks_it)
{
    const blob hostile = blob_read(GOLDEN "/hostile.txt");
    wordpiece *w = create(small, sizeof small - 1, _i == 0);
    uint64_t state = (uint64_t)_i;
    size_t taken = 0;

    for (int round = 0; round < 3000; round++) {
        const size_t room = 1 + round % 300;
        char *text = malloc(room);
        const size_t bytes = random_text(&state, hostile, text, room), max = 2 + random_bits(&state) % 20;
        int32_t *all = malloc((bytes + 2) * sizeof *all), *few = malloc(max * sizeof *few);
        size_t n, m;
        if (wordpiece_encode(w, text, bytes, bytes + 2, all, &n, error, sizeof error)) {
            taken++;
            ck_assert(wordpiece_encode(w, text, bytes, max, few, &m, error, sizeof error));
            ck_assert_uint_eq(m, n < max ? n : max);
            ck_assert_int_eq(SEP, few[m - 1]);
            ck_assert(memcmp(all, few, (m - 1) * sizeof *few) == 0);
            for (size_t i = 0; i < n; i++) ck_assert(all[i] >= 0 && all[i] < N_SMALL);
        } else {
            const size_t bad = (size_t)strtoul(strrchr(error, ' '), NULL, 10);
            ck_assert_uint_lt(bad, bytes);
            ck_assert_int_ge((unsigned char)text[bad], 0x80);
            ck_assert(wordpiece_encode(w, text, bad, max, few, &m, error, sizeof error));
        }
        free(text), free(all), free(few);
    }
    ck_assert_uint_gt(taken, 300);
    wordpiece_destroy(w);
    free(hostile.text);
}
END_TEST

/* ---- BertTokenizer's ids ---- */

static const char *const kind[] = { "wordpiece", "wordpiece cased" };
static wordpiece *bert;

static size_t encode(const void *tokenizer, const char *text, size_t bytes, int32_t *ids)
{
    size_t n;
    ck_assert_msg(wordpiece_encode(tokenizer, text, bytes, bytes + 2, ids, &n, error, sizeof error), "%s", error);
    return n;
}

static void open_model(bool lower)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/vocab.txt", getenv("CLPEFT_TEST_MODEL"));
    ck_assert_msg(wordpiece_create(&bert, path, lower, error, sizeof error), "%s", error);
    ck_assert_uint_eq(30522, wordpiece_size(bert));
}

START_TEST(hostile_unicode_has_the_ids_of_bert)
{
    open_model(_i == 0);
    if (_i == 0) check_hostile_ids(encode, bert, GOLDEN "/hostile_wordpiece.txt");
    check_hostile(encode, bert, kind[_i]);
    wordpiece_destroy(bert);
}
END_TEST

START_TEST(every_code_point_has_the_ids_of_bert)
{
    open_model(_i == 0);
    check_sweep(encode, bert, kind[_i]);
    wordpiece_destroy(bert);
}
END_TEST

START_TEST(wordnet_has_the_ids_of_bert)
{
    open_model(_i == 0);
    check_rows(encode, bert, kind[_i], "wordnet", getenv("CLPEFT_TEST_WORDNET"));
    wordpiece_destroy(bert);
}
END_TEST

START_TEST(bbc_news_has_the_ids_of_bert)
{
    open_model(_i == 0);
    check_rows(encode, bert, kind[_i], "bbc", getenv("CLPEFT_TEST_BBC"));
    wordpiece_destroy(bert);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wordpiece");
    TCase *t = tcase_create("wordpiece");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, t);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, a_bad_vocabulary_is_refused_with_its_line, 0, LENGTH(bad_vocab));
    tcase_add_test(t, a_file_that_is_no_vocabulary_is_refused);
    tcase_add_test(t, line_ends_of_both_kinds_are_taken);
    tcase_add_loop_test(t, small_texts_have_these_ids, 0, LENGTH(known));
    tcase_add_test(t, a_word_of_101_characters_is_unknown);
    tcase_add_loop_test(t, invalid_utf8_is_refused_with_its_offset, 0, LENGTH(not_utf8));
    tcase_add_test(t, two_ids_are_the_least);
    tcase_add_loop_test(t, no_text_breaks_it, 0, 2);
    if (data_path("CLPEFT_TEST_MODEL", "the ids of BertTokenizer")) {
        tcase_add_loop_test(t, hostile_unicode_has_the_ids_of_bert, 0, 2);
        tcase_add_loop_test(t, every_code_point_has_the_ids_of_bert, 0, 2);
        if (data_path("CLPEFT_TEST_WORDNET", "the ids of WordNet"))
            tcase_add_loop_test(t, wordnet_has_the_ids_of_bert, 0, 2);
        if (data_path("CLPEFT_TEST_BBC", "the ids of BBC News"))
            tcase_add_loop_test(t, bbc_news_has_the_ids_of_bert, 0, 2);
    }
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

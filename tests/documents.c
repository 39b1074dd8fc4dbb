/* documents.c - what the language model's trainer makes of its files: tokens and labels, full batches, samples. No device is needed
 * but for the last. TINY is the file of make_tiny_llama.py. */
#include "expect.h"
#include "trainer/documents.h"
#include "trainer/packing.h"
#include "trainer/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { END = 2, BYTE = 3, THE = 260, SPACE_A = 261 }; /* ids of the tiny tokenizer: byte b is near BYTE + b */

static lm_tokenizer tokenizer;
static char path[64];

static void open_tokenizer(void)
{
    const char *tiny = getenv("TINY");
    ck_assert_msg(tiny != NULL, "TINY is not set");
    lm_tokenizer_open(&tokenizer, tiny, false);
}

static void close_tokenizer(void)
{
    lm_tokenizer_close(&tokenizer);
    if (*path) unlink(path);
}

/* Read a file with these bytes. */
static documents read_bytes(const char *suffix, const char *bytes, size_t max_length)
{
    documents d;
    snprintf(path, sizeof path, "/tmp/clpeft-documents-%d%s", (int)getpid(), suffix);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fputs(bytes, file);
    fclose(file);
    documents_read(&d, path, &tokenizer, max_length);
    return d;
}

static void expect_row(const documents *d, size_t row, size_t n, const int32_t *tokens, const int32_t *labels)
{
    ck_assert_uint_eq(n, d->start[row + 1] - d->start[row]);
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(d->token[d->start[row] + i] == tokens[i], "row %zu token %zu is %d", row, i,
                      d->token[d->start[row] + i]);
        ck_assert_msg(d->label[d->start[row] + i] == labels[i], "row %zu label %zu is %d", row, i,
                      d->label[d->start[row] + i]);
    }
}

static int32_t byte(char c)
{
    int32_t id[8];
    ck_assert_uint_eq(1, lm_tokenizer_encode(&tokenizer, &c, 1, id, "byte"));
    return id[0];
}

START_TEST(the_completion_and_its_end_count)
{
    const char *rows =
        "\xEF\xBB\xBF{\"prompt\": \"xy\", \"completion\": \" athe\"}\r\n\n{\"completion\": \"z\", \"prompt\": \"\"}\n"
        "{\"prompt\": \"xyz\", \"completion\": \"<|im_end|>\", \"more\": 1}";
    documents d = read_bytes(".jsonl", rows, 6);
    const int32_t x = byte('x'), y = byte('y'), z = byte('z'), less = byte('<');

    ck_assert_uint_eq(3, d.n);
    expect_row(&d, 0, 4, (int32_t[]){ x, y, SPACE_A, THE }, (int32_t[]){ -1, SPACE_A, THE, END });
    expect_row(&d, 1, 1, (int32_t[]){ z }, (int32_t[]){ END });
    expect_row(&d, 2, 6, (int32_t[]){ x, y, z, less, byte('|'), byte('i') },
               (int32_t[]){ -1, -1, less, byte('|'), byte('i'), byte('m') });
    ck_assert_uint_eq(1, d.cut);
    ck_assert_uint_eq(3 + 1 + 4, d.counted);
    ck_assert_uint_eq(2, documents_prompt(&d, 0));
    ck_assert_uint_eq(3, documents_prompt(&d, 2));
    documents_free(&d);
    /* Control tokens, where they are wanted; prompts that leave no room are left out. */
    tokenizer.control = true;
    d = read_bytes(
        ".jsonl",
        "{\"prompt\": \"xyz\", \"completion\": \"<|im_end|>\"}\n{\"prompt\": \"xyzx\", \"completion\": \"y\"}", 3);
    ck_assert_uint_eq(1, d.n);
    ck_assert_uint_eq(1, d.out);
    expect_row(&d, 0, 3, (int32_t[]){ x, y, z }, (int32_t[]){ -1, -1, END });
    documents_free(&d);
}
END_TEST

START_TEST(text_is_cut_into_rows_and_nothing_is_lost)
{
    documents d = read_bytes(".txt", "\n\nxy\nz\n\n\nthe ax\n", 3);
    const int32_t x = byte('x'), y = byte('y'), z = byte('z'), line = byte('\n');

    ck_assert_uint_eq(3, d.n);
    expect_row(&d, 0, 3, (int32_t[]){ x, y, line }, (int32_t[]){ y, line, z });
    expect_row(&d, 1, 1, (int32_t[]){ z }, (int32_t[]){ END });
    expect_row(&d, 2, 3, (int32_t[]){ THE, SPACE_A, x }, (int32_t[]){ SPACE_A, x, END });
    ck_assert_uint_eq(1, d.cut);
    ck_assert_uint_eq(7, d.counted);
    const uint64_t hash = documents_hash(&d);
    documents_free(&d);
    d = read_bytes(".txt", "xy\nz\n\nthe ay", 3);
    ck_assert(hash != documents_hash(&d));
    documents_free(&d);
    tokenizer.begin = 1;
    d = read_bytes(".txt", "xy", 3);
    expect_row(&d, 0, 3, (int32_t[]){ 1, x, y }, (int32_t[]){ x, y, END });
    documents_free(&d);
}
END_TEST

START_TEST(packs_hold_whole_rows_in_order)
{
    static size_t starts[] = { 0, 2, 5, 6, 10, 12 };
    static int32_t tokens[] = { 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21 };
    const documents d = { .n = 5, .start = starts, .token = tokens, .label = tokens, .longest = 4 };
    shuffle order;
    pack p;
    size_t row = 0, seen = 0;

    pack_init(&p, 8, 6);
    while (pack_next(&p, &d, &row)) {
        ck_assert_int_le(p.row_start[p.packed.S], 6);
        for (size_t t = 0; t < (size_t)p.row_start[p.packed.S]; t++, seen++) {
            ck_assert_int_eq(tokens[seen], p.tokens[t]);
            ck_assert_int_eq(tokens[seen], p.labels[t]);
        }
    }
    ck_assert_uint_eq(12, seen);
    shuffle_init(&order, d.n, 3);
    uint64_t *plan = pack_plan(&p, &d, &order, 7);
    for (uint64_t step = 0; step < 7; step++) {
        ck_assert_uint_eq(plan[step + 1], pack_fill(&p, &d, &order, plan[step]));
        ck_assert_uint_eq(plan[step + 1] - plan[step], p.packed.S);
        const size_t next = shuffle_row(&order, plan[step + 1]), n = starts[next + 1] - starts[next];
        ck_assert_uint_gt((size_t)p.row_start[p.packed.S] + n, 6); /* the next one had no room */
    }
    ck_assert_uint_ge(plan[pack_count(&p, &d, &order, 7)], 7);
    ck_assert_uint_lt(plan[pack_count(&p, &d, &order, 7) - 1], 7);
    free(plan);
    shuffle_free(&order);
    pack_free(&p);
}
END_TEST

/* Greedy is what the logits say; a tiny top_p is greedy; seeds repeat. */
START_TEST(samples_follow_their_options)
{
    const clpeft_model_options made = { .max_tokens = 8, .forward_only = 1 };
    const int32_t prompt[] = { THE, SPACE_A, 80 };
    sample_options options = { .tokens = 12 };
    clpeft_context *ctx;
    cl_command_queue queue;
    clpeft_model *model;

    ck_ok(clpeft_context_create(&ctx, NULL));
    ck_ok(clpeft_queue_create(&queue, ctx));
    ck_ok(clpeft_model_load(&model, ctx, getenv("TINY"), &made));
    char *greedy = sample_text(model, NULL, &tokenizer, prompt, 3, &options, queue);
    options.temperature = 2, options.top_p = 1e-6f;
    char *narrow = sample_text(model, NULL, &tokenizer, prompt, 3, &options, queue);
    ck_assert_str_eq(greedy, narrow);
    options.top_p = 1, options.seed = 5;
    char *one = sample_text(model, NULL, &tokenizer, prompt, 3, &options, queue);
    char *again = sample_text(model, NULL, &tokenizer, prompt, 3, &options, queue);
    options.seed = 6;
    char *other = sample_text(model, NULL, &tokenizer, prompt, 3, &options, queue);
    ck_assert_str_eq(one, again);
    ck_assert_str_ne(one, other);
    free(greedy), free(narrow), free(one), free(again), free(other);
    clpeft_model_destroy(model);
    clReleaseCommandQueue(queue);
    clpeft_context_destroy(ctx);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, the_completion_and_its_end_count);
    tcase_add_test(t, text_is_cut_into_rows_and_nothing_is_lost);
    tcase_add_test(t, packs_hold_whole_rows_in_order);
    tcase_add_test(t, samples_follow_their_options);
}

int main(void)
{
    return run_tests("documents", add, 120, open_tokenizer, close_tokenizer);
}

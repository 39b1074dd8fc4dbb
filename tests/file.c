/* file.c - tensor files are judged as their manifests say, hand out what is in them, and never crash the reader. */
#include "walk.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *folder;
    clpeft_format format;
    size_t files; /* in the manifest */
} fixtures[] = {
    { TEST_DIR "/fixtures/bad_safetensors", CLPEFT_SAFETENSORS, 65 },
    { TEST_DIR "/fixtures/bad_gguf", CLPEFT_GGUF, 62 },
};

/* Judged as a file, and as bytes in memory that end where the file ends. */
static void judge(const char *path, clpeft_format format, int accept)
{
    clpeft_file *file = NULL, *memory = NULL;
    size_t size;
    unsigned char *bytes = load(path, &size);
    const clpeft_status opened = clpeft_file_open(&file, path);
    ck_assert_msg((opened == CLPEFT_OK) == accept, "%s: %s", path, accept ? clpeft_error_message() : "accepted");
    ck_assert(accept || opened == CLPEFT_INVALID_FILE);
    ck_assert_int_eq(opened, clp_file_parse(&memory, bytes, size, format));
    if (accept) {
        ck_assert_int_eq(format, clpeft_file_format(file));
        ck_assert_uint_eq(walk(file), walk(memory));
    } else {
        ck_assert_ptr_null(file);
        ck_assert_ptr_null(memory);
        ck_assert_uint_gt(strlen(clpeft_error_message()), 10);
    }
    clpeft_file_close(file);
    clpeft_file_close(memory);
    free(bytes);
}

START_TEST(fixtures_are_judged_as_their_manifest_says)
{
    char line[300], path[600], name[100], expected[20], strict[20];
    size_t files = 0;
    snprintf(path, sizeof path, "%s/manifest.tsv", fixtures[_i].folder);
    FILE *manifest = fopen(path, "r");
    ck_assert_ptr_nonnull(manifest);
    while (fgets(line, sizeof line, manifest)) {
        if (line[0] == '#') continue;
        ck_assert_int_eq(3, sscanf(line, "%99s %19s %19s", name, expected, strict));
        snprintf(path, sizeof path, "%s/%s", fixtures[_i].folder, name);
        judge(path, fixtures[_i].format, strcmp(expected, "accept") == 0 && strcmp(strict, "reject") != 0);
        files++;
    }
    fclose(manifest);
    ck_assert_uint_eq(fixtures[_i].files, files);
}
END_TEST

START_TEST(a_refusal_tells_where)
{
    clpeft_file *file = NULL;
    ck_fails(CLPEFT_INVALID_FILE, "bad_gguf/key_empty.gguf: value 1 of 2",
             clpeft_file_open(&file, TEST_DIR "/fixtures/bad_gguf/key_empty.gguf"));
    ck_fails(CLPEFT_INVALID_FILE, "tensor \"b\"",
             clpeft_file_open(&file, TEST_DIR "/fixtures/bad_safetensors/offsets_hole.safetensors"));
}
END_TEST

static clpeft_file *open_fixture(const char *name)
{
    char path[600];
    clpeft_file *file = NULL;
    snprintf(path, sizeof path, TEST_DIR "/fixtures/%s", name);
    ck_ok(clpeft_file_open(&file, path));
    return file;
}

START_TEST(a_safetensors_file_hands_out_tensors_and_metadata)
{
    clpeft_file *file = open_fixture("bad_safetensors/ok_unsorted.safetensors");
    float x[2];
    ck_assert_uint_eq(2, clpeft_file_tensors(file));
    ck_assert_str_eq("a", clpeft_file_tensor_at(file, 0)->name);
    ck_assert_str_eq("b", clpeft_file_tensor_at(file, 1)->name);
    ck_assert_ptr_null(clpeft_file_tensor_at(file, 2));
    ck_assert_ptr_null(clpeft_file_find(file, "c"));
    ck_ok(clpeft_file_read_f32(clpeft_file_find(file, "b"), 0, 2, x));
    ck_assert(x[0] == 3.25f && x[1] == 4.0f);
    ck_ok(clpeft_file_read_f32(clpeft_file_find(file, "a"), 1, 1, x));
    ck_assert(x[0] == -2.0f);
    clpeft_file_close(file);

    file = open_fixture("bad_safetensors/ok_metadata_only.safetensors");
    ck_assert_uint_eq(2, clpeft_file_metas(file));
    ck_assert_str_eq("pt", clpeft_file_meta_find(file, "format")->string);
    ck_assert_str_eq("k", clpeft_file_meta_at(file, 1)->key);
    ck_assert_uint_eq(0, clpeft_file_meta_at(file, 1)->string_bytes);
    ck_assert_ptr_null(clpeft_file_meta_at(file, 2));
    ck_assert_ptr_null(clpeft_file_meta_find(file, "none"));
    clpeft_file_close(file);

    file = open_fixture("bad_safetensors/ok_escaped_name.safetensors");
    ck_assert_str_eq("a\xc3\xa9\xf0\x9f\x98\x80\"\\/", clpeft_file_tensor_at(file, 0)->name);
    clpeft_file_close(file);
}
END_TEST

START_TEST(a_gguf_matrix_has_row_major_dims_and_reads_in_blocks)
{
    clpeft_file *file = open_fixture("bad_gguf/ok_quant.gguf");
    float whole[256], part[32];
    char name[20];
    ck_assert_uint_eq(6, clpeft_file_tensors(file));
    for (size_t i = 0; i < 6; i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(file, i);
        ck_ok(clpeft_file_read_f32(t, 0, t->elements, whole));
        snprintf(name, sizeof name, "ok_quant %s", t->name);
        expect_hash(name, hash_bytes(whole, 4 * t->elements, 0));
    }
    const clpeft_file_tensor *t = clpeft_file_find(file, "b"); /* Q4_1, two blocks */
    ck_ok(clpeft_file_read_f32(t, 0, 64, whole));
    ck_ok(clpeft_file_read_f32(t, 32, 32, part));
    ck_assert_mem_eq(whole + 32, part, sizeof part);
    ck_ok(clpeft_file_read_f32(t, 64, 0, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "\"b\"", clpeft_file_read_f32(t, 16, 32, part));
    ck_fails(CLPEFT_INVALID_SIZE, "block of 32", clpeft_file_read_f32(t, 0, 16, part));
    ck_fails(CLPEFT_INVALID_SIZE, "\"b\"", clpeft_file_read_f32(t, 32, 64, part));
    ck_fails(CLPEFT_INVALID_SIZE, "\"b\"", clpeft_file_read_f32(t, 32, UINT64_MAX - 31, part));
    ck_fails(CLPEFT_INVALID_SIZE, "\"b\"", clpeft_file_read_f32(t, 96, 0, part));
    clpeft_file_close(file);

    file = open_fixture("bad_safetensors/ok_other_dtypes.safetensors");
    ck_assert_str_eq("F8_E4M3", clpeft_file_find(file, "e")->dtype_name);
    ck_assert_int_eq(CLPEFT_OTHER, clpeft_file_find(file, "e")->dtype);
    ck_fails(CLPEFT_UNSUPPORTED, "F8_E4M3", clpeft_file_read_f32(clpeft_file_find(file, "e"), 0, 1, part));
    clpeft_file_close(file);
}
END_TEST

START_TEST(a_real_model_dequantizes_as_the_reference)
{
    static const clpeft_dtype dtype[] = { CLPEFT_F32, CLPEFT_Q4_1, CLPEFT_Q8_0 };
    const char *path = getenv("CLPEFT_TEST_GGUF");
    clpeft_file *file = NULL;
    uint64_t h[3] = { 0 };
    clpeft_meta token;
    if (!path) {
        printf("SmolLM2: skipped, CLPEFT_TEST_GGUF is not set\n");
        return;
    }
    ck_ok(clpeft_file_open(&file, path));
    ck_assert_uint_eq(272, clpeft_file_tensors(file));
    ck_assert_uint_eq(33, clpeft_file_metas(file));
    ck_assert_double_eq(100000, clpeft_file_meta_find(file, "llama.rope.freq_base")->number);
    ck_assert(clpeft_file_meta_item(file, clpeft_file_meta_find(file, "tokenizer.ggml.tokens"), 49151, &token));
    ck_assert_uint_eq(49152, clpeft_file_find(file, "token_embd.weight")->dims[0]);
    ck_assert_uint_eq(576, clpeft_file_find(file, "token_embd.weight")->dims[1]);
    for (size_t i = 0; i < 272; i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(file, i);
        float *x = malloc(4 * t->elements);
        ck_ok(clpeft_file_read_f32(t, 0, t->elements, x));
        for (size_t k = 0; k < 3; k++)
            if (t->dtype == dtype[k]) h[k] = hash_bytes(x, 4 * t->elements, h[k]);
        free(x);
    }
    expect_hash("SmolLM2 F32", h[0]);
    expect_hash("SmolLM2 Q4_1", h[1]);
    expect_hash("SmolLM2 Q8_0", h[2]);
    clpeft_file_close(file);
}
END_TEST

static const char *const seed_file[] = {
    "bad_safetensors/ok_dtypes.safetensors",
    "bad_safetensors/ok_escaped_name.safetensors",
    "bad_safetensors/ok_extra_field.safetensors",
    "bad_safetensors/ok_metadata_only.safetensors",
    "bad_gguf/ok_all_types.gguf",
    "bad_gguf/ok_quant.gguf",
    "bad_gguf/ok_alignment_64.gguf",
};

/* Valid files with a few bytes changed to a random, a neighbouring or an extreme value, some cut or made longer. Whatever is
 * accepted is read in full; the sanitizers of the build judge the rest. */
START_TEST(damaged_bytes_never_crash_the_reader)
{
    static const uint64_t extreme[] = { 0, 1, UINT64_MAX, INT64_MAX, (uint64_t)1 << 63, UINT32_MAX, (uint64_t)1 << 62,
                                        32 };
    char path[600];
    size_t size, accepted = 0;
    uint64_t state = (uint64_t)_i + 1;
    snprintf(path, sizeof path, TEST_DIR "/fixtures/%s", seed_file[_i]);
    unsigned char *good = load(path, &size);
    for (int round = 0; round < 4000; round++) {
        clpeft_file *file = NULL;
        const size_t n = random_word(&state) % 4 ? size : random_word(&state) % (size + 9);
        unsigned char *bytes = calloc(1, n ? n : 1);
        memcpy(bytes, good, n < size ? n : size);
        for (uint32_t changes = n ? random_word(&state) % 4 : 0; changes > 0; changes--) {
            unsigned char *p = bytes + random_word(&state) % n;
            const size_t room = (size_t)(bytes + n - p), kind = random_word(&state) % 4;
            if (kind == 0) *p = (unsigned char)random_word(&state);
            if (kind == 1) *p ^= (unsigned char)(1 << random_word(&state) % 8);
            if (kind == 2) *p = (unsigned char)(*p + random_word(&state) % 3 - 1);
            if (kind == 3) memcpy(p, &extreme[random_word(&state) % 8], room < 8 ? room : 8);
        }
        const clpeft_format format = strstr(path, "gguf.") || strstr(path, ".gguf") ? CLPEFT_GGUF : CLPEFT_SAFETENSORS;
        if (clp_file_parse(&file, bytes, n, format) == CLPEFT_OK) {
            accepted++;
            walk(file);
            clpeft_file_close(file);
        }
        free(bytes);
    }
    free(good);
    ck_assert_uint_gt(accepted, 100);
    ck_assert_uint_lt(accepted, 3900);
}
END_TEST

START_TEST(what_is_no_tensor_file_is_refused)
{
    char folder[] = "/tmp/clpeft-file-XXXXXX", path[100];
    clpeft_file *file = NULL;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_fails(CLPEFT_FILE_ERROR, "not a regular file", clpeft_file_open(&file, folder));
    snprintf(path, sizeof path, "%s/pipe", folder);
    ck_assert_int_eq(0, mkfifo(path, 0600));
    ck_fails(CLPEFT_FILE_ERROR, "not a regular file", clpeft_file_open(&file, path));
    ck_assert_int_eq(0, unlink(path));
    ck_fails(CLPEFT_FILE_ERROR, strerror(ENOENT), clpeft_file_open(&file, path));
    ck_ok(clpeft_file_replace(path, "some text, long enough", 22));
    ck_fails(CLPEFT_INVALID_FILE, "neither", clpeft_file_open(&file, path));
    ck_assert_int_eq(0, unlink(path));
    ck_assert_int_eq(0, rmdir(folder));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_file_open(&file, NULL));
    ck_assert_ptr_null(file);
    clpeft_file_close(NULL);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, fixtures_are_judged_as_their_manifest_says, 0, 2);
    tcase_add_test(t, a_refusal_tells_where);
    tcase_add_test(t, a_safetensors_file_hands_out_tensors_and_metadata);
    tcase_add_test(t, a_gguf_matrix_has_row_major_dims_and_reads_in_blocks);
    tcase_add_test(t, a_real_model_dequantizes_as_the_reference);
    tcase_add_loop_test(t, damaged_bytes_never_crash_the_reader, 0, sizeof seed_file / sizeof *seed_file);
    tcase_add_test(t, what_is_no_tensor_file_is_refused);
}

int main(void)
{
    return run_tests("file", add, 120, NULL, NULL);
}

/* file-write.c - written files equal the reference packages' byte for byte, and a failed write changes nothing. */
#include "hash.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[40], path[80];

static void make_folder(void)
{
    strcpy(folder, "/tmp/clpeft-write-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
}

static void remove_folder(void)
{
    unlink(path);
    ck_assert_msg(rmdir(folder) == 0, "%s: something was left behind: %s", folder, strerror(errno));
}

/* The bytes at path are the text, and its folder holds nothing else. */
static void expect_old(const char *text)
{
    size_t size, entries = 0;
    unsigned char *bytes = load(path, &size);
    DIR *d = opendir(folder);
    while (readdir(d)) entries++;
    closedir(d);
    ck_assert_uint_eq(3, entries); /* file, "." and ".." */
    ck_assert_uint_eq(strlen(text), size);
    ck_assert_mem_eq(text, bytes, size);
    free(bytes);
}

static void expect_golden(const char *name)
{
    char golden[600];
    size_t have, want;
    snprintf(golden, sizeof golden, TEST_DIR "/golden/%s", name);
    unsigned char *a = load(path, &have), *b = load(golden, &want);
    ck_assert_uint_eq(want, have);
    for (size_t i = 0; i < want; i++) ck_assert_msg(a[i] == b[i], "byte %zu is %d, not %d", i, a[i], b[i]);
    free(a), free(b);
}

/* The script's tensors: byte i of tensor number `seed` is (7 i + 13 seed) mod 128. */
static void fill(clpeft_write_tensor *tensors, size_t n, unsigned char data[][600])
{
    for (size_t seed = 0; seed < n; seed++) {
        for (size_t i = 0; i < 600; i++) data[seed][i] = (unsigned char)((7 * i + 13 * seed) & 127);
        tensors[seed].data = data[seed];
    }
}

static clpeft_write_tensor plain[] = {
    { .name = "b.f32", .dtype = CLPEFT_F32, .n_dims = 2, .dims = { 2, 3 } },
    { .name = "a.f16", .dtype = CLPEFT_F16, .n_dims = 1, .dims = { 5 } },
    { .name = "c.bf16", .dtype = CLPEFT_BF16, .n_dims = 1, .dims = { 3 } },
    { .name = "d.f64", .dtype = CLPEFT_F64, .n_dims = 1, .dims = { 1 } },
    { .name = "e.i64", .dtype = CLPEFT_I64, .n_dims = 1, .dims = { 2 } },
    { .name = "f.i32", .dtype = CLPEFT_I32, .n_dims = 1, .dims = { 3 } },
    { .name = "scalar", .dtype = CLPEFT_F32 },
    { .name = "empty", .dtype = CLPEFT_F32, .n_dims = 2, .dims = { 0, 4 } },
    { .name = "\xc3\xa9 \"q\" \\ / \n", .dtype = CLPEFT_F32, .n_dims = 1, .dims = { 1 } },
    { .name = "a.f32", .dtype = CLPEFT_F32, .n_dims = 4, .dims = { 1, 1, 1, 2 } },
};
static clpeft_write_tensor blocks[] = {
    { .name = "blk.0.attn_q.weight", .dtype = CLPEFT_Q8_0, .n_dims = 2, .dims = { 3, 64 } },
    { .name = "blk.0.norm", .dtype = CLPEFT_F32, .n_dims = 1, .dims = { 5 } },
    { .name = "blk.1.half", .dtype = CLPEFT_F16, .n_dims = 2, .dims = { 2, 3 } },
    { .name = "blk.2.q6", .dtype = CLPEFT_Q6_K, .n_dims = 2, .dims = { 1, 256 } },
    { .name = "blk.3.bf16", .dtype = CLPEFT_BF16, .n_dims = 1, .dims = { 7 } },
};
static const clpeft_gguf_meta values[] = {
    { .key = "general.architecture", .type = CLPEFT_GGUF_STRING, .string = "llama" },
    { .key = "general.type", .type = CLPEFT_GGUF_STRING, .string = "adapter" },
    { .key = "adapter.lora.alpha", .type = CLPEFT_GGUF_F32, .f32 = 16.5f },
    { .key = "general.file_type", .type = CLPEFT_GGUF_U32, .u32 = 3 },
    { .key = "tokenizer.ggml.add_bos_token", .type = CLPEFT_GGUF_BOOL, .u32 = 2 },
};
#define COUNT(array) (sizeof(array) / sizeof *(array))
static unsigned char data[10][600];

/* The tensors of an open file as tensors to write, in reverse. */
static size_t take_over(const clpeft_file *file, clpeft_write_tensor *tensors)
{
    const size_t n = clpeft_file_tensors(file);
    for (size_t i = 0; i < n; i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(file, n - 1 - i);
        tensors[i] = (clpeft_write_tensor){ t->name, t->dtype, t->dtype_name, t->n_dims, { 0 }, t->data };
        memcpy(tensors[i].dims, t->dims, t->n_dims * sizeof *t->dims);
    }
    return n;
}

START_TEST(safetensors_equals_the_reference)
{
    fill(plain, COUNT(plain), data);
    ck_ok(clpeft_safetensors_write(path, NULL, 0, plain, COUNT(plain)));
    expect_golden("written.safetensors");
}
END_TEST

START_TEST(gguf_equals_the_reference)
{
    fill(blocks, COUNT(blocks), data);
    ck_ok(clpeft_gguf_write(path, values, COUNT(values), blocks, COUNT(blocks)));
    expect_golden("written.gguf");
}
END_TEST

START_TEST(safetensors_carries_over_what_it_read)
{
    clpeft_write_tensor tensors[10];
    clpeft_file *file = NULL, *again = NULL;
    const clpeft_write_meta metas[] = { { "step", "7" }, { "k\"\t\x01", "\xf0\x9f\x98\x80" } };
    ck_ok(clpeft_file_open(&file, TEST_DIR "/fixtures/bad_safetensors/ok_dtypes.safetensors")); /* with U8 and BOOL */
    ck_ok(clpeft_safetensors_write(path, metas, 2, tensors, take_over(file, tensors)));
    ck_ok(clpeft_file_open(&again, path));
    ck_assert_uint_eq(7, clpeft_file_tensors(again));
    for (size_t i = 0; i < 7; i++) {
        const clpeft_file_tensor *a = clpeft_file_tensor_at(file, i), *b = clpeft_file_find(again, a->name);
        ck_assert(a->bytes == b->bytes && a->n_dims == b->n_dims);
        ck_assert_str_eq(a->dtype_name, b->dtype_name);
        ck_assert_mem_eq(a->data, b->data, a->bytes);
    }
    ck_assert_uint_eq(3, clpeft_file_metas(again));
    ck_assert_str_eq("pt", clpeft_file_meta_at(again, 0)->string);
    ck_assert_str_eq("7", clpeft_file_meta_find(again, "step")->string);
    ck_assert_str_eq("\xf0\x9f\x98\x80", clpeft_file_meta_find(again, "k\"\t\x01")->string);
    clpeft_file_close(again);
    clpeft_file_close(file);
}
END_TEST

static const char *const carried[] = { "ok_all_types", "ok_alignment_64", "ok_alignment_1",
                                       "ok_quant",     "ok_scalar",       "ok_nothing" };

START_TEST(gguf_carries_over_what_it_read)
{
    char source[600];
    clpeft_write_tensor tensors[10];
    clpeft_gguf_meta metas[20] = { 0 };
    clpeft_file *file = NULL, *again = NULL;
    snprintf(source, sizeof source, TEST_DIR "/fixtures/bad_gguf/%s.gguf", carried[_i]);
    ck_ok(clpeft_file_open(&file, source));
    const size_t n = take_over(file, tensors), n_metas = clpeft_file_metas(file);
    for (size_t i = 0; i < n_metas; i++)
        metas[i] =
            (clpeft_gguf_meta){ .key = clpeft_file_meta_at(file, i)->key, .type = CLPEFT_GGUF_COPY, .copy = file };
    ck_ok(clpeft_gguf_write(path, metas, n_metas, tensors, n));
    ck_ok(clpeft_file_open(&again, path));
    ck_assert_uint_eq(n, clpeft_file_tensors(again));
    ck_assert_uint_eq(n_metas, clpeft_file_metas(again));
    for (size_t i = 0; i < n; i++) {
        const clpeft_file_tensor *a = clpeft_file_tensor_at(file, i), *b = clpeft_file_find(again, a->name);
        ck_assert_mem_eq(a->data, b->data, a->bytes);
        ck_assert_str_eq(a->dtype_name, b->dtype_name);
    }
    for (size_t i = 0; i < n_metas; i++) {
        const clpeft_meta *a = clpeft_file_meta_at(file, i), *b = clpeft_file_meta_at(again, i);
        ck_assert_str_eq(a->key, b->key);
        ck_assert(a->type == b->type && a->integer == b->integer && a->number == b->number && a->count == b->count);
    }
    clpeft_file_close(again);
    clpeft_file_close(file);
}
END_TEST

/* One tensor or value that no writer takes: what is wrong with it stands in the message. */
START_TEST(what_the_formats_cannot_hold_is_refused)
{
    const float x[64] = { 0 };
    const clpeft_write_tensor good = { .name = "a", .n_dims = 1, .dims = { 2 }, .data = x };
    clpeft_write_tensor t[2] = { good, good };
    const clpeft_write_meta twice[] = { { "k", "1" }, { "k", "2" } }, bad_text = { "k", "\xff" };
    clpeft_gguf_meta meta[2] = { { .key = "k", .type = CLPEFT_GGUF_U32 }, { .key = "k", .type = CLPEFT_GGUF_U32 } };
    char name[65];
#define REFUSED(code, text, n)                                           \
    ck_fails(code, text, clpeft_safetensors_write(path, NULL, 0, t, n)); \
    ck_fails(code, text, clpeft_gguf_write(path, NULL, 0, t, n));        \
    t[0] = good
    ck_ok(clpeft_file_replace(path, "old", 3));
    REFUSED(CLPEFT_INVALID_ARGUMENT, "\"a\" is given twice", 2);
    t[0].name = NULL;
    REFUSED(CLPEFT_INVALID_ARGUMENT, "name is NULL", 1);
    t[0].data = NULL;
    REFUSED(CLPEFT_INVALID_ARGUMENT, "data is NULL", 1);
    t[0].n_dims = 5;
    REFUSED(CLPEFT_INVALID_SIZE, "5 dimensions", 1);
    t[0].dims[0] = UINT64_MAX;
    REFUSED(CLPEFT_INVALID_SIZE, "overflows", 1);
    t[0].dims[0] = INT64_MAX;
    REFUSED(CLPEFT_INVALID_SIZE, "no size", 1);
    t[0].dtype = CLPEFT_OTHER;
    REFUSED(CLPEFT_INVALID_ARGUMENT, "unknown type", 1);
    t[0].dtype = (clpeft_dtype)99;
    REFUSED(CLPEFT_INVALID_ARGUMENT, "unknown type", 1);
    t[0].dtype = CLPEFT_Q8_0;
    REFUSED(CLPEFT_INVALID_SIZE, "blocks of 32", 1);

    t[0].dtype = CLPEFT_Q8_0, t[0].dims[0] = 32;
    ck_fails(CLPEFT_UNSUPPORTED, "no type Q8_0", clpeft_safetensors_write(path, NULL, 0, t, 1));
    t[0] = good, t[0].dtype = CLPEFT_OTHER, t[0].dtype_name = "U8";
    ck_fails(CLPEFT_UNSUPPORTED, "no type U8", clpeft_gguf_write(path, NULL, 0, t, 1));
    t[0] = good, t[0].name = "\xff";
    ck_fails(CLPEFT_INVALID_ARGUMENT, "not UTF-8", clpeft_safetensors_write(path, NULL, 0, t, 1));
    t[0].name = "__metadata__";
    ck_fails(CLPEFT_INVALID_ARGUMENT, "__metadata__", clpeft_safetensors_write(path, NULL, 0, t, 1));
    memset(name, 'n', 64), name[64] = '\0', t[0].name = name;
    ck_fails(CLPEFT_INVALID_ARGUMENT, "64 bytes", clpeft_gguf_write(path, NULL, 0, t, 1));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "\"k\" is given twice", clpeft_safetensors_write(path, twice, 2, NULL, 0));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "not UTF-8", clpeft_safetensors_write(path, &bad_text, 1, NULL, 0));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "\"k\" is given twice", clpeft_gguf_write(path, meta, 2, NULL, 0));
    meta[0].key = "";
    ck_fails(CLPEFT_INVALID_ARGUMENT, "empty", clpeft_gguf_write(path, meta, 1, NULL, 0));
    meta[0] = (clpeft_gguf_meta){ .key = "general.alignment", .type = CLPEFT_GGUF_U32, .u32 = 12 };
    ck_fails(CLPEFT_INVALID_ARGUMENT, "alignment", clpeft_gguf_write(path, meta, 1, NULL, 0));
    meta[0] = (clpeft_gguf_meta){ .key = "k", .type = 99 };
    ck_fails(CLPEFT_INVALID_ARGUMENT, "unknown type 99", clpeft_gguf_write(path, meta, 1, NULL, 0));
    meta[0] = (clpeft_gguf_meta){ .key = "k", .type = CLPEFT_GGUF_COPY };
    ck_fails(CLPEFT_INVALID_ARGUMENT, "\"k\"", clpeft_gguf_write(path, meta, 1, NULL, 0));
    meta[0] = (clpeft_gguf_meta){ .key = "k", .type = CLPEFT_GGUF_STRING };
    ck_fails(CLPEFT_INVALID_ARGUMENT, "string is NULL", clpeft_gguf_write(path, meta, 1, NULL, 0));
    expect_old("old");
}
END_TEST

START_TEST(a_file_is_replaced_with_mode_0600)
{
    struct stat info;
    umask(0777);
    ck_ok(clpeft_file_replace(path, "first", 5));
    expect_old("first");
    ck_ok(clpeft_file_replace(path, "second one", 10));
    ck_assert_int_eq(0, stat(path, &info));
    ck_assert_int_eq(0600, info.st_mode & 07777);
    expect_old("second one");
    ck_ok(clpeft_file_replace(path, NULL, 0));
    expect_old("");
}
END_TEST

START_TEST(a_name_without_a_folder_is_in_the_current_one)
{
    ck_assert_int_eq(0, chdir(folder));
    ck_ok(clpeft_file_replace("file", "here", 4));
    expect_old("here");
    ck_assert_int_eq(0, chdir("/"));
}
END_TEST

/* A file cannot grow beyond a limit: the write fails in the middle, as on a full disk. */
START_TEST(a_full_disk_leaves_the_old_file)
{
    const struct rlimit limit = { 1000, RLIM_INFINITY };
    static const char large[5000];
    fill(blocks, COUNT(blocks), data);
    ck_ok(clpeft_file_replace(path, "old", 3));
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(0, setrlimit(RLIMIT_FSIZE, &limit));
    ck_fails(CLPEFT_FILE_ERROR, strerror(EFBIG), clpeft_file_replace(path, large, sizeof large));
    expect_old("old");
    ck_fails(CLPEFT_FILE_ERROR, strerror(EFBIG), clpeft_gguf_write(path, values, COUNT(values), blocks, COUNT(blocks)));
    expect_old("old");
}
END_TEST

START_TEST(a_folder_that_takes_no_file_is_named)
{
    ck_fails(CLPEFT_FILE_ERROR, "/nonexistent/x", clpeft_file_replace("/nonexistent/x", "new", 3));
    ck_fails(CLPEFT_FILE_ERROR, "/proc/self/x", clpeft_file_replace("/proc/self/x", "new", 3));
    ck_fails(CLPEFT_FILE_ERROR, "/dev/null/x", clpeft_safetensors_write("/dev/null/x", NULL, 0, NULL, 0));
    ck_fails(CLPEFT_FILE_ERROR, "No such file", clpeft_file_replace("", "new", 3));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_file_replace(NULL, "new", 3));
    ck_ok(clpeft_file_replace(path, "old", 3));
    ck_assert_int_eq(0, unlink(path));
    ck_assert_int_eq(0, mkdir(path, 0700)); /* a folder of that name */
    ck_fails(CLPEFT_FILE_ERROR, "cannot replace", clpeft_file_replace(path, "new", 3));
    ck_assert_int_eq(0, rmdir(path));
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, safetensors_equals_the_reference);
    tcase_add_test(t, gguf_equals_the_reference);
    tcase_add_test(t, safetensors_carries_over_what_it_read);
    tcase_add_loop_test(t, gguf_carries_over_what_it_read, 0, COUNT(carried));
    tcase_add_test(t, what_the_formats_cannot_hold_is_refused);
    tcase_add_test(t, a_file_is_replaced_with_mode_0600);
    tcase_add_test(t, a_name_without_a_folder_is_in_the_current_one);
    tcase_add_test(t, a_full_disk_leaves_the_old_file);
    tcase_add_test(t, a_folder_that_takes_no_file_is_named);
}

int main(void)
{
    return run_tests("file-write", add, 60, make_folder, remove_folder);
}

/* cache.c - the caches of compiled kernels and of tuning: what is damaged, foreign or open to others is ignored and rebuilt. */
#include "device.h"
#include "fault/fault.h"

#include "cache.h"
#include "gemm.h"
#include "tune.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static fault_control *layer;
static char folder[64];

static void folder_make(void)
{
    strcpy(folder, "/tmp/clpeft-cache-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void set_up(void)
{
    folder_make();
    device_open();
}

/* Path of entry `at` of the folder, "." and ".." aside; NULL: there are not so many. */
static const char *entry(size_t at)
{
    static char path[400];
    DIR *dir = opendir(folder);
    struct dirent *e;
    path[0] = 0;
    while ((e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && at-- == 0)
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    closedir(dir);
    return path[0] ? path : NULL;
}

static void folder_remove(void)
{
    for (const char *path; (path = entry(0));) ck_assert_int_eq(0, remove(path));
    ck_assert_int_eq(0, rmdir(folder));
}

static void tear_down(void)
{
    device_close();
    folder_remove();
}

static unsigned char *read_all(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = malloc(1 << 22);
    ck_assert_ptr_nonnull(file);
    *size = fread(bytes, 1, 1 << 22, file);
    fclose(file);
    return bytes;
}

static void write_all(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(size, fwrite(bytes, 1, size, file));
    fclose(file);
}

/* ---- the format, without a device --------------------------------------------------------------------------------------- */

static const unsigned char payload[] = "the bytes of a kernel";
enum { SIZE = sizeof payload };

static clpeft_context fake(const char *name)
{
    clpeft_context ctx = { .cache_dir = folder };
    snprintf(ctx.info.name, sizeof ctx.info.name, "%s", name);
    return ctx;
}

static void expect_load(const char *key, int there, const char *why)
{
    const clpeft_context ctx = fake("a");
    size_t size = 0;
    unsigned char *bytes = clp_cache_load(&ctx, key, &size);
    ck_assert_msg(!bytes == !there, "%s: %s", why, bytes ? "loaded" : "not loaded");
    if (bytes) ck_assert(size == SIZE && !memcmp(bytes, payload, SIZE));
    free(bytes);
}

START_TEST(no_byte_of_a_file_can_change)
{
    const clpeft_context ctx = fake("a");
    size_t size;
    char why[64];

    folder_make();
    clp_cache_store(&ctx, "key", payload, SIZE);
    expect_load("key", 1, "whole");
    expect_load("kez", 0, "another key");
    const char *path = entry(0);
    unsigned char *bytes = read_all(path, &size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        write_all(path, bytes, size);
        snprintf(why, sizeof why, "bit %zu flipped", bit);
        expect_load("key", 0, why);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (size_t less = 0; less < size; less++) {
        write_all(path, bytes, less);
        snprintf(why, sizeof why, "%zu of %zu bytes", less, size);
        expect_load("key", 0, why);
    }
    bytes[size] = 0;
    write_all(path, bytes, size + 1);
    expect_load("key", 0, "a byte more");
    clp_cache_store(&ctx, "key", payload, SIZE);
    expect_load("key", 1, "written again");
    free(bytes);
    folder_remove();
}
END_TEST

START_TEST(only_a_private_file_of_ours_counts)
{
    const clpeft_context ctx = fake("a");
    static const mode_t open_to_others[] = { 0620, 0602, 0666, 0777 };
    char path[400], aside[410];

    folder_make();
    clp_cache_store(&ctx, "key", payload, SIZE);
    snprintf(path, sizeof path, "%s", entry(0));
    for (size_t i = 0; i < sizeof open_to_others / sizeof *open_to_others; i++) {
        ck_assert_int_eq(0, chmod(path, open_to_others[i]));
        expect_load("key", 0, "writable by others");
    }
    ck_assert_int_eq(0, chmod(path, 0600));
    expect_load("key", 1, "mode 0600");
    if (geteuid() == 0) { /* only root can give a file away */
        ck_assert_int_eq(0, chown(path, 12345, (gid_t)-1));
        expect_load("key", 0, "of another user");
        ck_assert_int_eq(0, chown(path, 0, (gid_t)-1));
    }
    snprintf(aside, sizeof aside, "%s.aside", path);
    ck_assert_int_eq(0, rename(path, aside));
    ck_assert_int_eq(0, symlink(aside, path));
    expect_load("key", 0, "a link");
    ck_assert_int_eq(0, unlink(path));
    ck_assert_int_eq(0, mkfifo(path, 0600));
    expect_load("key", 0, "a pipe");
    ck_assert_int_eq(0, unlink(path));
    ck_assert_int_eq(0, mkdir(path, 0700));
    expect_load("key", 0, "a folder");
    clp_cache_store(&ctx, "key", payload, SIZE); /* can't be written, and that is no matter */
    ck_assert_int_eq(0, rmdir(path));
    folder_remove();
}
END_TEST

/* Folders are made 0700 and files 0600, whatever the umask is. */
START_TEST(files_are_private)
{
    char deep[100], path[400];
    struct stat info;
    clpeft_context ctx = fake("a");

    folder_make();
    const mode_t before = umask(_i ? 0 : 0777 & ~0700);
    snprintf(deep, sizeof deep, "%s/one/two", folder);
    ctx.cache_dir = deep;
    clp_cache_store(&ctx, "key", payload, SIZE);
    umask(before);
    ck_assert(stat(deep, &info) == 0 && (info.st_mode & 07777) == 0700);
    snprintf(path, sizeof path, "%s/one", folder);
    ck_assert(stat(path, &info) == 0 && (info.st_mode & 07777) == 0700);
    char above[64];
    strcpy(above, folder);
    snprintf(folder, sizeof folder, "%.40s/one/two", above);
    snprintf(path, sizeof path, "%s", entry(0));
    ck_assert(stat(path, &info) == 0 && (info.st_mode & 07777) == 0600);
    ck_assert_int_eq(0, unlink(path));
    ck_assert_int_eq(0, rmdir(folder));
    strcpy(folder, above);
    folder_remove();
}
END_TEST

/* Processes that write one entry at once, each its own bytes, and read it: whole bytes of one of them, always. */
START_TEST(processes_write_at_once)
{
    enum { PROCESSES = 4, ROUNDS = 100, BYTES = 50000 };
    const clpeft_context ctx = fake("a");
    unsigned char *bytes = malloc(BYTES);
    pid_t child[PROCESSES];
    int state;

    folder_make();
    for (int p = 0; p < PROCESSES; p++)
        if ((child[p] = fork()) == 0) {
            for (int round = 0; round < ROUNDS; round++) {
                size_t size = 0;
                memset(bytes, 'a' + p, BYTES);
                clp_cache_store(&ctx, "key", bytes, BYTES);
                unsigned char *have = clp_cache_load(&ctx, "key", &size);
                if (!have || size != BYTES || memcmp(have, have + 1, BYTES - 1) != 0) _exit(1);
                free(have);
            }
            _exit(0);
        }
    for (int p = 0; p < PROCESSES; p++) {
        ck_assert_int_eq(child[p], waitpid(child[p], &state, 0));
        ck_assert_int_eq(0, state);
    }
    ck_assert_ptr_nonnull(entry(0));
    ck_assert_ptr_null(entry(1)); /* no temporaries */
    free(bytes);
    folder_remove();
}
END_TEST

/* ---- kernels ---------------------------------------------------------------------------------------------------------- */

/* A kernel in a context of its own on the folder; how often it was compiled from source. */
static long compile(void)
{
    clpeft_context *ctx;
    matrix m = matrix_make(4, 4, 0, 0, &(float){ 1 });
    const clpeft_context_options o = { .context = clpeft_context_cl(dev.ctx),
                                       .device = clpeft_context_device(dev.ctx),
                                       .cache_dir = folder };
    ck_ok(clpeft_context_create(&ctx, &o));
    layer->entry = "clCreateProgramWithSource";
    layer->seen = 0;
    layer->at = LONG_MAX;
    ck_ok(clpeft_add(ctx, 4, 4, 1, m.view, 1, m.view, m.view, dev.queue, 0, NULL, NULL));
    layer->at = 0;
    layer->entry = NULL;
    matrix_download(&m);
    ck_assert(AT(m, 3, 3) == 2);
    clpeft_context_destroy(ctx);
    matrix_free(&m);
    return layer->seen;
}

START_TEST(kernels_are_compiled_once)
{
    ck_assert_int_eq(1, compile());
    ck_assert_int_eq(0, compile());
}
END_TEST

/* Where the program's bytes start: behind the key. */
static size_t start_of(const unsigned char *bytes)
{
    uint64_t key;
    memcpy(&key, bytes + 8, sizeof key);
    return 16 + (size_t)key + 16;
}

START_TEST(a_damaged_kernel_is_compiled_again)
{
    size_t size;
    compile();
    const char *path = entry(0);
    unsigned char *bytes = read_all(path, &size);
    for (size_t i = 0; i < 12; i++) {
        const size_t at = i * (size - 1) / 11;
        bytes[at] ^= 4;
        write_all(path, bytes, size);
        bytes[at] ^= 4;
        ck_assert_msg(compile() == 1, "byte %zu of %zu changed", at, size);
        ck_assert_int_eq(0, compile());
    }
    write_all(path, bytes, size / 2);
    ck_assert_int_eq(1, compile());
    free(bytes);
}
END_TEST

/* A file that is whole, but not what the driver can use: as after an update of the driver that kept its version. */
START_TEST(a_binary_that_the_driver_refuses_is_replaced)
{
    size_t size;
    compile();
    const char *path = entry(0);
    unsigned char *bytes = read_all(path, &size);
    const size_t start = start_of(bytes);
    memset(bytes + start, 0, size - start);
    const uint64_t sum = clp_fnv(CLP_FNV_START, bytes + start, size - start);
    memcpy(bytes + start - 8, &sum, sizeof sum);
    write_all(path, bytes, size);
    ck_assert_int_eq(1, compile());
    ck_assert_int_eq(0, compile());
    free(bytes);
}
END_TEST

/* The file of another device under this device's name. */
START_TEST(a_foreign_device_is_ignored)
{
    size_t size;
    compile();
    const char *path = entry(0);
    unsigned char *bytes = read_all(path, &size), *name = NULL;
    const size_t length = strlen(dev.ctx->info.name);
    for (size_t i = 0; !name && i + length < size; i++)
        if (!memcmp(bytes + i, dev.ctx->info.name, length)) name = bytes + i;
    ck_assert_ptr_nonnull(name);
    name[0] ^= 1;
    write_all(path, bytes, size);
    ck_assert_int_eq(1, compile());
    free(bytes);
}
END_TEST

/* As compile, with the first call of `entry` failing. */
static clpeft_status compile_failing(const char *entry)
{
    clpeft_context *ctx;
    const float one = 1;
    matrix m = matrix_make(4, 4, 0, 0, &one);
    ck_ok(clpeft_context_create(&ctx, &(clpeft_context_options){ .context = clpeft_context_cl(dev.ctx),
                                                                 .device = clpeft_context_device(dev.ctx),
                                                                 .cache_dir = folder }));
    layer->entry = entry;
    layer->seen = 0;
    layer->at = 1;
    const clpeft_status status = clpeft_add(ctx, 4, 4, 1, m.view, 1, m.view, m.view, dev.queue, 0, NULL, NULL);
    layer->at = 0;
    layer->entry = NULL;
    if (status == CLPEFT_OK) {
        matrix_download(&m);
        ck_assert(AT(m, 3, 3) == 2);
    }
    clpeft_context_destroy(ctx);
    matrix_free(&m);
    return status;
}

/* Of the source: an error that names the kernel file and the device. Of a kept binary: the source is compiled instead. */
START_TEST(a_build_that_fails_is_told)
{
    ck_assert_int_ne(CLPEFT_OK, compile_failing("clBuildProgram"));
    ck_assert_msg(strstr(clpeft_error_message(), "cl/element.cl does not build on "), "%s", clpeft_error_message());
    ck_assert_ptr_null(entry(0));
    ck_assert_int_eq(1, compile());
    ck_ok(compile_failing("clBuildProgram"));
    ck_ok(compile_failing("clCreateProgramWithBinary"));
    ck_assert_int_eq(0, compile());
}
END_TEST

START_TEST(a_binary_that_the_driver_keeps_is_not_cached)
{
    ck_ok(compile_failing("clGetProgramInfo"));
    ck_assert_ptr_null(entry(0));
    ck_assert_int_eq(1, compile());
}
END_TEST

/* Of a context that names none; "": there is none. */
static void expect_folder(const char *xdg, const char *home, const char *want)
{
    clpeft_context *ctx;
    setenv("XDG_CACHE_HOME", xdg, 1), setenv("HOME", home, 1);
    ck_ok(clpeft_context_create(&ctx, &(clpeft_context_options){ .context = clpeft_context_cl(dev.ctx),
                                                                 .device = clpeft_context_device(dev.ctx) }));
    ck_assert_str_eq(want, ctx->cache_dir ? ctx->cache_dir : "");
    clpeft_context_destroy(ctx);
}

START_TEST(the_folder_follows_the_environment)
{
    const char *const names[] = { "XDG_CACHE_HOME", "HOME" };
    char *before[2];
    for (int i = 0; i < 2; i++) before[i] = getenv(names[i]) ? strdup(getenv(names[i])) : NULL;
    expect_folder("/x", "/h", "/x/clpeft");
    expect_folder("", "/h", "/h/.cache/clpeft");
    expect_folder("", "", "");
    for (int i = 0; i < 2; i++) {
        before[i] ? setenv(names[i], before[i], 1) : unsetenv(names[i]);
        free(before[i]);
    }
}
END_TEST

/* ---- tuning ----------------------------------------------------------------------------------------------------------- */

static unsigned group_of_a_new_context(void)
{
    clpeft_context *ctx;
    clpeft_device_info info;
    ck_ok(clpeft_context_create(&ctx, &(clpeft_context_options){ .context = clpeft_context_cl(dev.ctx),
                                                                 .device = clpeft_context_device(dev.ctx),
                                                                 .cache_dir = folder }));
    clpeft_context_info(ctx, &info);
    clpeft_context_destroy(ctx);
    return info.group;
}

/* Kept parameters are taken over, when kernels can be built with them. */
START_TEST(tuning_is_kept_and_checked)
{
    clpeft_context ctx = *dev.ctx;
    clp_tuning kept = dev.ctx->tuning;
    const unsigned usual = kept.group;
    size_t size;

    ctx.cache_dir = folder;
    ck_assert_uint_eq(usual, group_of_a_new_context());
    kept.group = usual == 32 ? 16 : 32;
    clp_tune_keep(&ctx, &kept);
    ck_assert_uint_eq(kept.group, group_of_a_new_context());

    const char *path = entry(0);
    unsigned char *bytes = read_all(path, &size);
    for (size_t at = 0; at < size; at++) {
        bytes[at] ^= 0x20;
        write_all(path, bytes, size);
        ck_assert_msg(group_of_a_new_context() == usual, "byte %zu of %zu changed", at, size);
        bytes[at] ^= 0x20;
    }
    free(bytes);

    static const unsigned impossible[] = { 0, 3, 2048, UINT_MAX };
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        clp_tuning wrong = kept;
        wrong.group = impossible[i], clp_tune_keep(&ctx, &wrong);
        ck_assert_uint_eq(usual, group_of_a_new_context());
        wrong = kept, wrong.tile_rows = impossible[i], clp_tune_keep(&ctx, &wrong);
        ck_assert_uint_eq(usual, group_of_a_new_context());
        wrong = kept, wrong.depth = impossible[i] == 2048 ? 65 : impossible[i], clp_tune_keep(&ctx, &wrong);
        ck_assert_uint_eq(usual, group_of_a_new_context());
    }
}
END_TEST

/* CLBlast with the parameters of the first variant and the last, kept as by clpeft-tune; each is compiled for many seconds. */
START_TEST(tuned_products_are_right)
{
    enum { N = 37 };
    clpeft_context ctx = *dev.ctx, *tuned;
    clp_tuning kept = dev.ctx->tuning;
    const unsigned variant = _i ? (unsigned)clp_gemm_variants() - 1 : 0;
    matrix a = matrix_random(N, N, 0, 0), b = matrix_random(N, N, 0, 0), c = matrix_random(N, N, 0, 0);

    ctx.cache_dir = folder;
    kept.panel = 0, kept.vector = 1, kept.group = 64, kept.blas = variant;
    clp_tune_keep(&ctx, &kept);
    ck_ok(clpeft_context_create(&tuned, &(clpeft_context_options){ .context = clpeft_context_cl(dev.ctx),
                                                                   .device = clpeft_context_device(dev.ctx),
                                                                   .cache_dir = folder }));
    ck_assert(!tuned->tuning.panel && tuned->tuning.blas == variant);
    ck_ok(clpeft_gemm(tuned, 0, 0, N, N, N, 1, a.view, b.view, 0, c.view, NULL, dev.queue, 0, NULL, NULL));
    matrix_download(&c);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            double sum = 0;
            for (size_t k = 0; k < N; k++) sum += (double)AT(a, i, k) * AT(b, k, j);
            expect_near(AT(c, i, j), sum, N * N * FLT_EPSILON, "variant %u, %zu %zu", variant, i, j);
        }
    clpeft_context_destroy(tuned);
    matrix_free(&a), matrix_free(&b), matrix_free(&c);
}
END_TEST

static void add_format(TCase *t)
{
    tcase_add_test(t, no_byte_of_a_file_can_change);
    tcase_add_test(t, only_a_private_file_of_ours_counts);
    tcase_add_loop_test(t, files_are_private, 0, 2);
    tcase_add_test(t, processes_write_at_once);
}

static void add_device(TCase *t)
{
    tcase_add_test(t, kernels_are_compiled_once);
    tcase_add_test(t, a_damaged_kernel_is_compiled_again);
    tcase_add_test(t, a_binary_that_the_driver_refuses_is_replaced);
    tcase_add_test(t, a_foreign_device_is_ignored);
    tcase_add_test(t, a_build_that_fails_is_told);
    tcase_add_test(t, a_binary_that_the_driver_keeps_is_not_cached);
    tcase_add_test(t, the_folder_follows_the_environment);
    tcase_add_test(t, tuning_is_kept_and_checked);
    tcase_add_loop_test(t, tuned_products_are_right, 0, 2);
}

int main(void)
{
    const int failed = run_tests("cache-format", add_format, 60, NULL, NULL);
    layer = fault_start();
    setenv("CK_FORK", "no", 1);
    return run_tests("cache", add_device, 0, set_up, tear_down) || failed;
}

/* crash.c - a process that is killed while it writes: what was there is whole, and the next run is not confused by what is left.
 *
 *     crash                                    for every call on files: kill a process before it, and look
 *     crash --save MODEL CHECKPOINT CALL       that process: go on from the checkpoint, take a step, save; killed before CALL
 *
 * The process is killed by SIGKILL, so that nothing of it gets to run. What a loss of power leaves depends on the order of fsync:
 * the bytes before the name, the name before success. */
#include "exchange.h"
#include "fault/fault.h"

#include <signal.h>
#include <sys/wait.h>

static char *program;

static const int32_t labels[] = { 2, 0, -1, 1, 2 };

static void kill_at(long call)
{
    host.way = HOST_KILL;
    host.files = (host_gate){ .at = call };
}

/* ---- a checkpoint: the process that dies ----------------------------------------------------------------------------- */

static int go_on_and_save(const char *model_path, const char *path, long call)
{
    clpeft_context *ctx = NULL;
    clpeft_model *model = NULL;
    clpeft_trainer *trainer = NULL;
    clpeft_batch batch = tiny_batch;

    batch.labels = labels;
    clpeft_status status = clpeft_context_create(&ctx, NULL);
    if (status == CLPEFT_OK) status = clpeft_model_load(&model, ctx, model_path, &tiny_options);
    if (status == CLPEFT_OK) status = clpeft_trainer_load(&trainer, model, path);
    if (status == CLPEFT_OK) status = clpeft_train_step(trainer, &batch, NULL);
    kill_at(call);
    if (status == CLPEFT_OK) status = clpeft_trainer_save(trainer, path, NULL, 0);
    host.files = (host_gate){ 0 };
    if (status != CLPEFT_OK) fprintf(stderr, "%s\n", clpeft_error_message());
    clpeft_trainer_destroy(trainer);
    clpeft_model_destroy(model);
    clpeft_context_destroy(ctx);
    return status != CLPEFT_OK;
}

/* Whether the process was killed; else it has saved. */
static int run_and_kill(const exchange *x, const char *path, long call)
{
    char number[32];
    int state;
    pid_t child = fork();
    if (child == 0) {
        snprintf(number, sizeof number, "%ld", call);
        execl(program, program, "--save", x->files.dir, path, number, (char *)NULL);
        _exit(127);
    }
    ck_assert_int_eq(child, waitpid(child, &state, 0));
    if (WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL) return 1;
    ck_assert_msg(WIFEXITED(state) && WEXITSTATUS(state) == 0, "the process ended with %d", state);
    return 0;
}

/* ---- a checkpoint: what is left ---------------------------------------------------------------------------------------- */

static uint64_t steps_of(const exchange *x, const char *path)
{
    clpeft_trainer *trainer;
    ck_ok(clpeft_trainer_load(&trainer, x->model, path));
    const uint64_t steps = clpeft_trainer_steps(trainer);
    clpeft_trainer_destroy(trainer);
    return steps;
}

static size_t remove_temporaries(const exchange *x)
{
    size_t n = 0;
    DIR *dir = opendir(x->dir);
    for (struct dirent *e; (e = readdir(dir));)
        if (strncmp(e->d_name, ".clpeft-", 8) == 0) n++, unlink(exchange_path(x, e->d_name));
    closedir(dir);
    return n;
}

START_TEST(a_checkpoint_survives_a_kill)
{
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORA);
    exchange x = exchange_start(&o, (tiny){ .V = 37, .P = 19, .D = 24, .H = 3, .F = 44, .L = 1 });
    const char *path = exchange_path(&x, "checkpoint");
    size_t old_size, new_size, size, left = 0, old = 0, killed = 0;

    ck_ok(clpeft_trainer_save(x.trainer, path, NULL, 0));
    char *before = file_bytes(path, &old_size);
    ck_assert(!run_and_kill(&x, path, 0));
    char *after = file_bytes(path, &new_size);
    ck_assert_uint_eq(4, steps_of(&x, path));
    do {
        ck_ok(clpeft_file_replace(path, before, old_size));
        if (!run_and_kill(&x, path, (long)++killed)) break;
        char *bytes = file_bytes(path, &size);
        const int is_old = size == old_size && memcmp(bytes, before, size) == 0;
        ck_assert_msg(is_old || (size == new_size && memcmp(bytes, after, size) == 0),
                      "killed at call %zu: neither file", killed);
        ck_assert_uint_eq(is_old ? 3 : 4, steps_of(&x, path));
        free(bytes);
        old += is_old;
    } while (killed < 100);
    ck_assert_uint_gt(--killed, 5);
    ck_assert(old > 0 && old < killed);
    left = remove_temporaries(&x);
    ck_assert_uint_gt(left, 0);
    printf("checkpoint: killed before %zu calls: %zu times the old file, %zu times the new one; %zu temporaries left\n",
           killed, old, killed - old, left);
    free(before);
    free(after);
    exchange_end(&x);
}
END_TEST

/* ---- the writers ------------------------------------------------------------------------------------------------------- */

enum { VALUES = 70000 };
static float values[VALUES];

static clpeft_status write_file(int writer, const char *path, float value)
{
    static const char *const names[] = { "a", "b", "c" };
    clpeft_write_tensor tensors[3];

    for (size_t i = 0; i < VALUES; i++) values[i] = value;
    for (int i = 0; i < 3; i++)
        tensors[i] =
            (clpeft_write_tensor){ .name = names[i], .n_dims = 1, .dims = { VALUES - (size_t)i }, .data = values };
    if (writer == 0) return clpeft_safetensors_write(path, NULL, 0, tensors, 3);
    if (writer == 1) return clpeft_gguf_write(path, NULL, 0, tensors, 3);
    return clpeft_file_replace(path, values, sizeof values);
}

/* Every writer, killed before every call, by fork alone: nothing of OpenCL is in this process yet. */
START_TEST(a_file_survives_a_kill)
{
    char dir[] = "/tmp/clpeft-crash-XXXXXX", path[64], rest[100];
    size_t old_size, new_size, size;
    int state = 1, killed = 0;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    ck_ok(write_file(_i, path, 2));
    char *after = file_bytes(path, &new_size);
    ck_ok(write_file(_i, path, 1));
    char *before = file_bytes(path, &old_size);
    for (long call = 1; state != 0; call++) {
        const pid_t child = fork();
        if (child == 0) {
            kill_at(call);
            _exit(write_file(_i, path, 2) != CLPEFT_OK);
        }
        ck_assert_int_eq(child, waitpid(child, &state, 0));
        char *bytes = file_bytes(path, &size);
        const int is_old = size == old_size && memcmp(bytes, before, size) == 0;
        const int is_new = size == new_size && memcmp(bytes, after, size) == 0;
        ck_assert_msg(is_new || (is_old && state != 0), "killed before call %ld: neither file", call);
        if (is_new) ck_ok(write_file(_i, path, 1));
        killed += state != 0;
        free(bytes);
    }
    ck_assert_int_gt(killed, 5);
    /* what is left beside it changes nothing */
    ck_ok(write_file(_i, path, 1));
    char *bytes = file_bytes(path, &size);
    ck_assert_uint_eq(size, old_size);
    ck_assert_mem_eq(bytes, before, size);
    free(bytes), free(before), free(after);
    DIR *folder = opendir(dir);
    for (struct dirent *e; (e = readdir(folder));) {
        snprintf(rest, sizeof rest, "%s/%.30s", dir, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlink(rest);
    }
    closedir(folder);
    ck_assert_int_eq(0, rmdir(dir));
}
END_TEST

static char calls[4096];

static void note_call(const char *call)
{
    const size_t used = strlen(calls);
    snprintf(calls + used, sizeof calls - used, "%s ", call);
}

START_TEST(bytes_reach_the_disk_before_the_name)
{
    static const char *const last = "write fsync close rename fsync close ";
    char dir[] = "/tmp/clpeft-crash-XXXXXX", path[64];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    host.before = note_call;
    ck_ok(write_file(_i, path, 1));
    host.before = NULL;
    ck_assert_msg(strlen(calls) > strlen(last) && strcmp(calls + strlen(calls) - strlen(last), last) == 0, "%s", calls);
    ck_assert(!strstr(strstr(calls, "fsync"), "write"));
    unlink(path);
    ck_assert_int_eq(0, rmdir(dir));
}
END_TEST

static void add_files(TCase *t)
{
    tcase_add_loop_test(t, bytes_reach_the_disk_before_the_name, 0, 3);
    tcase_add_loop_test(t, a_file_survives_a_kill, 0, 3);
}

static void add_checkpoint(TCase *t)
{
    tcase_add_test(t, a_checkpoint_survives_a_kill);
}

int main(int n, char **arguments)
{
    program = arguments[0];
    if (n == 5 && strcmp(arguments[1], "--save") == 0)
        return go_on_and_save(arguments[2], arguments[3], atol(arguments[4]));
    const int failed = run_tests("crash-file", add_files, 60, NULL, NULL);
    return run_suite("crash", add_checkpoint, 300) || failed;
}

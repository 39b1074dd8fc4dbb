/* scenarios.h - what faults.c lets fail: open a device, compile, load, train, save, export. Each is prepared, run under faults,
 * checked and undone. */
#ifndef TEST_FAULT_SCENARIOS_H
#define TEST_FAULT_SCENARIOS_H

#include "inject.h"

#include "../exchange.h"

enum { ROWS = 5, CLASSES = 3 };

static exchange lora, doran;
static const int32_t labels[] = { 2, 0, -1, 1, 2 };

/* What a scenario made and works on. */
static struct {
    clpeft_context *ctx;
    cl_command_queue queue;
    clpeft_params *params;
    clpeft_adapter *adapter;
    clpeft_model *model;
    clpeft_trainer *trainer;
    clpeft_peft *peft;
    clpeft_step_result step;
    clpeft_tune_result tune;
    matrix m;
    float logits[ROWS * CLASSES];
    char *file; /* what a file held before the call */
    size_t size;
} it;

static clpeft_batch labelled(void)
{
    clpeft_batch batch = tiny_batch;
    batch.labels = labels;
    return batch;
}

/* ---- a device, a kernel, a model, an adapter, a step ---------------------------------------------------------------- */

static char cache[64] = "/tmp/clpeft-faults-XXXXXX";

static void empty_folder(const char *path)
{
    char name[400];
    DIR *dir = opendir(path);
    for (struct dirent *e; (e = readdir(dir));) {
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlink(name);
    }
    closedir(dir);
}

static void undo_all(void)
{
    clpeft_peft_close(it.peft);
    clpeft_trainer_destroy(it.trainer);
    clpeft_adapter_destroy(it.adapter);
    clpeft_params_destroy(it.params);
    clpeft_model_destroy(it.model);
    if (it.m.host) matrix_free(&it.m);
    if (it.queue) clReleaseCommandQueue(it.queue);
    clpeft_context_destroy(it.ctx);
    free(it.file);
    memset(&it, 0, sizeof it);
}

static clpeft_status run_open(void)
{
    clpeft_status status = clpeft_context_create(&it.ctx, &(clpeft_context_options){ .cache_dir = cache });
    if (status == CLPEFT_OK) status = clpeft_queue_create(&it.queue, it.ctx);
    return status;
}

static void check_open(void)
{
    clpeft_device_info want, have;
    clpeft_context_info(dev.ctx, &want);
    clpeft_context_info(it.ctx, &have);
    ck_assert_mem_eq(&want, &have, sizeof want);
}

/* One kernel: compiled into an empty cache, then, in another context, from the cache. */
static void prepare_kernel(void)
{
    empty_folder(cache);
    it.m = matrix_make(4, 4, 0, 0, &(float){ 1 });
}

static clpeft_status run_kernel(void)
{
    clpeft_status status = CLPEFT_OK;
    for (int i = 0; i < 2 && status == CLPEFT_OK; i++) {
        clpeft_context_destroy(it.ctx);
        it.ctx = NULL;
        status = clpeft_context_create(&it.ctx, &(clpeft_context_options){ .context = clpeft_context_cl(dev.ctx),
                                                                           .device = clpeft_context_device(dev.ctx),
                                                                           .cache_dir = cache });
        if (status == CLPEFT_OK)
            status = clpeft_add(it.ctx, 4, 4, 1, it.m.view, 1, it.m.view, it.m.view, dev.queue, 0, NULL, NULL);
    }
    return status;
}

static void check_kernel(void)
{
    matrix_download(&it.m);
    ck_assert(AT(it.m, 3, 3) == 4);
}

static clpeft_status run_load(void)
{
    return clpeft_model_load(&it.model, dev.ctx, doran.files.dir, &tiny_options);
}

static void check_load(void)
{
    clpeft_model_info want, have;
    clpeft_model_get_info(doran.model, &want);
    clpeft_model_get_info(it.model, &have);
    ck_assert_uint_eq(want.hash, have.hash);
}

static clpeft_status run_adapter(void)
{
    const clpeft_site *sites;
    const size_t n = clpeft_adapter_sites(clpeft_trainer_adapter(doran.trainer), &sites);
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORAN);
    clpeft_status status = clpeft_params_create(&it.params, dev.ctx);
    if (status == CLPEFT_OK) status = clpeft_adapter_create(&it.adapter, it.params, sites, n, &o.adapter);
    if (status == CLPEFT_OK) status = clpeft_params_allocate(it.params);
    if (status == CLPEFT_OK) status = clpeft_adapter_materialize(it.adapter, 0, 1, dev.queue, 0, NULL, NULL);
    return status;
}

static void check_adapter(void)
{
    ck_assert_uint_eq(clpeft_params_trainable(it.params),
                      clpeft_params_trainable(clpeft_trainer_params(doran.trainer)) - CLASSES * (doran.files.D + 1));
}

static clpeft_status run_trainer(void)
{
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORAN);
    return clpeft_trainer_create(&it.trainer, doran.model, &o);
}

/* Parameters of it.trainer, which must be equal to those in `want`, or go there when it is empty. */
static void same_theta(float **want)
{
    const clpeft_params *p = clpeft_trainer_params(it.trainer);
    const size_t bytes = 4 * clpeft_params_size(p);
    float *have = malloc(bytes);
    ck_ok(clpeft_params_read(p, CLPEFT_THETA, NULL, have, clpeft_trainer_queue(it.trainer)));
    if (*want) {
        ck_assert_mem_eq(*want, have, bytes);
        free(have);
    } else {
        *want = have;
    }
}

static float *theta[2]; /* after 0 and 1 steps */

static void prepare_step(void)
{
    ck_ok(run_trainer());
    same_theta(&theta[0]);
}

static clpeft_status run_step(void)
{
    const clpeft_batch batch = labelled();
    return clpeft_train_step(it.trainer, &batch, &it.step);
}

static void check_step(void)
{
    same_theta(&theta[1]);
    ck_assert_uint_eq(1, clpeft_trainer_steps(it.trainer));
    ck_assert_int_eq(1, it.step.applied);
    ck_assert_uint_eq(0, it.step.skipped);
}

/* A step is taken, or not. */
static void failed_step(void)
{
    clpeft_adamw_state state;
    const uint64_t steps = clpeft_trainer_steps(it.trainer);
    ck_assert_uint_le(steps, 1);
    same_theta(&theta[steps]);
    ck_ok(clpeft_adamw_read_state(clpeft_trainer_params(it.trainer), &state, clpeft_trainer_queue(it.trainer)));
    ck_assert_uint_eq(steps, state.applied + state.skipped);
    if (steps == 1) return;
    ck_ok(run_step());
    check_step();
}

static clpeft_status run_evaluate(void)
{
    return clpeft_trainer_evaluate(doran.trainer, &tiny_batch, it.logits, NULL, NULL);
}

static void check_evaluate(void)
{
    float want[ROWS * CLASSES];
    ck_ok(clpeft_trainer_evaluate(doran.trainer, &tiny_batch, want, NULL, NULL));
    ck_assert_mem_eq(want, it.logits, sizeof want);
}

/* ---- files: a call that fails leaves the file that was there --------------------------------------------------------- */

static const char *checkpoint(void)
{
    return exchange_path(&doran, "checkpoint");
}

static void keep_file(const char *path)
{
    it.file = file_bytes(path, &it.size);
}

static void file_is_kept(const char *path)
{
    size_t size;
    char *now = file_bytes(path, &size);
    ck_assert_uint_eq(it.size, size);
    ck_assert_mem_eq(it.file, now, size);
    free(now);
}

static void no_other_files(const exchange *x)
{
    DIR *dir = opendir(x->dir);
    for (struct dirent *e; (e = readdir(dir));)
        ck_assert_msg(strncmp(e->d_name, ".clpeft-", 8) != 0, "a temporary file is left: %s", e->d_name);
    closedir(dir);
}

/* The old file, which differs from the new one in its extra pair, is either whole, or replaced by the whole new one. */
static clpeft_status save(const char *value)
{
    const clpeft_write_meta extra = { "run", value };
    return clpeft_trainer_save(doran.trainer, checkpoint(), &extra, 1);
}

static void prepare_save(void)
{
    ck_ok(save("old"));
    keep_file(checkpoint());
}

static clpeft_status run_save(void)
{
    return save("new");
}

static void check_save(void)
{
    clpeft_file *file;
    ck_ok(clpeft_file_open(&file, checkpoint()));
    ck_assert_str_eq("new", clpeft_file_meta_find(file, "run")->string);
    clpeft_file_close(file);
    no_other_files(&doran);
}

static void failed_save(void)
{
    clpeft_trainer *again;
    /* Once the new file is in place, only the folder can fail to be synced, and the message says so. */
    if (strstr(clpeft_error_message(), "written, but"))
        check_save();
    else
        file_is_kept(checkpoint());
    no_other_files(&doran);
    ck_ok(clpeft_trainer_load(&again, doran.model, checkpoint()));
    clpeft_trainer_destroy(again);
}

static void prepare_resume(void)
{
    ck_ok(save("old"));
}

static clpeft_status run_resume(void)
{
    return clpeft_trainer_load(&it.trainer, doran.model, checkpoint());
}

static void check_resume(void)
{
    ck_assert_uint_eq(3, clpeft_trainer_steps(it.trainer));
}

static clpeft_status export_peft(clpeft_dtype dtype)
{
    const clpeft_peft_options o = { .dtype = dtype, .base_model = "tiny/model", .head_scale = SCALE };
    return clpeft_peft_export(clpeft_trainer_adapter(doran.trainer), doran.model, doran.dir, &o, NULL);
}

static void prepare_peft(void)
{
    ck_ok(export_peft(CLPEFT_F32));
}

static clpeft_status run_peft(void)
{
    return export_peft(CLPEFT_F32);
}

static void check_peft(void)
{
    ck_ok(clpeft_peft_open(&it.peft, doran.model, doran.dir));
    no_other_files(&doran);
}

static clpeft_status run_import(void)
{
    return clpeft_peft_open(&it.peft, doran.model, doran.dir);
}

static void check_import(void)
{
    clpeft_peft_info info;
    clpeft_peft_get_info(it.peft, &info);
    ck_assert_uint_eq(CLASSES, info.classes);
}

/* An imported adapter into the parameters of a trainer that is made for it. */
static void prepare_peft_load(void)
{
    clpeft_trainer_options o = exchange_options(CLPEFT_DORA);
    clpeft_peft_info info;
    ck_ok(export_peft(CLPEFT_F32));
    ck_ok(run_import());
    clpeft_peft_get_info(it.peft, &info);
    o.adapter = info.adapter, o.sites = info.sites, o.classes = info.classes;
    ck_ok(clpeft_trainer_create(&it.trainer, doran.model, &o));
}

static clpeft_status run_peft_load(void)
{
    return clpeft_peft_load(it.peft, clpeft_trainer_adapter(it.trainer), SCALE, NULL);
}

static void prepare_gguf(void)
{
    ck_ok(clpeft_gguf_export(clpeft_trainer_adapter(lora.trainer), lora.model, exchange_path(&lora, "a.gguf"),
                             CLPEFT_F32, NULL));
    keep_file(exchange_path(&lora, "a.gguf"));
}

static clpeft_status run_gguf(void)
{
    return clpeft_gguf_export(clpeft_trainer_adapter(lora.trainer), lora.model, exchange_path(&lora, "a.gguf"),
                              CLPEFT_F16, NULL);
}

static void failed_gguf(void)
{
    if (!strstr(clpeft_error_message(), "written, but")) file_is_kept(exchange_path(&lora, "a.gguf"));
    no_other_files(&lora);
}

static clpeft_status merge(clpeft_dtype dtype)
{
    return clpeft_merge_write(clpeft_trainer_adapter(doran.trainer), doran.model, doran.files.dir,
                              exchange_path(&doran, "merged.safetensors"), dtype, NULL);
}

static void prepare_merge(void)
{
    ck_ok(merge(CLPEFT_F32));
    keep_file(exchange_path(&doran, "merged.safetensors"));
}

static clpeft_status run_merge(void)
{
    return merge(CLPEFT_F16);
}

static void failed_merge(void)
{
    if (!strstr(clpeft_error_message(), "written, but")) file_is_kept(exchange_path(&doran, "merged.safetensors"));
    no_other_files(&doran);
}

#endif

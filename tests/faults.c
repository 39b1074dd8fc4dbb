/* faults.c - every call that can fail does, one after the other. Per scenario and kind of fault: the first call fails, then the
 * second, ... until a run meets no fault. After each: the status is an error with a message (or the result is as without the
 * fault), nothing leaks, what the scenario works on is as it was, and the same call succeeds once the fault is over.
 *
 *     faults [--all] [SCENARIO]
 *
 * Without --all the later calls of a long scenario are sampled; those of the tuner always are. */
#include "fault/scenarios.h"

#include <clblast_c.h>

/* ---- tuning --------------------------------------------------------------------------------------------------------- */

/* Nothing is computed, and the clock goes one second at a reading: a candidate is measured by three empty runs. */
static void prepare_tune(void)
{
    CLBlastClearCache(); /* it keeps programs of its own */
    ck_ok(clpeft_context_create(&it.ctx, &(clpeft_context_options){ .cache_dir = cache }));
    layer->skip_kernels = host.hold_clock = 1;
}

/* A device that CLBlast serves. */
static void prepare_tune_groups(void)
{
    setenv("CLPEFT_GEMM", "clblast", 1);
    prepare_tune();
    unsetenv("CLPEFT_GEMM");
}

static clpeft_status run_tune(void)
{
    const clpeft_status status = clpeft_tune(it.ctx, NULL, NULL, &it.tune);
    layer->skip_kernels = host.hold_clock = 0;
    CLBlastClearCache();
    return status;
}

static void again_tune(void)
{
    ck_ok(run_evaluate());
    check_evaluate();
}

static const fault_scenario list[] = {
    { "open", NULL, run_open, check_open, NULL, 1, NULL },
    { "kernel", prepare_kernel, run_kernel, check_kernel, NULL, 8, NULL },
    { "load", NULL, run_load, check_load, NULL, 1, NULL },
    { "adapter", NULL, run_adapter, check_adapter, NULL, 1, NULL },
    { "trainer", NULL, run_trainer, NULL, NULL, 1, NULL },
    { "step", prepare_step, run_step, check_step, failed_step, 2, NULL },
    { "evaluate", NULL, run_evaluate, check_evaluate, NULL, 1, NULL },
    { "save", prepare_save, run_save, check_save, failed_save, 2, NULL },
    { "resume", prepare_resume, run_resume, check_resume, NULL, 1, NULL },
    { "peft-export", prepare_peft, run_peft, check_peft, NULL, 1, NULL },
    { "peft-import", prepare_peft, run_import, check_import, NULL, 1, NULL },
    { "peft-load", prepare_peft_load, run_peft_load, NULL, NULL, 1, NULL },
    { "gguf-export", prepare_gguf, run_gguf, NULL, failed_gguf, 1, NULL },
    { "merge", prepare_merge, run_merge, NULL, failed_merge, 1, NULL },
    { "tune", prepare_tune, run_tune, NULL, NULL, 20, again_tune },
    { "tune-groups", prepare_tune_groups, run_tune, NULL, NULL, 20, again_tune },
};

static void set_up(void)
{
    const clpeft_trainer_options l = exchange_options(CLPEFT_LORA), d = exchange_options(CLPEFT_DORAN);
    ck_assert_ptr_nonnull(mkdtemp(strcpy(cache, "/tmp/clpeft-faults-XXXXXX")));
    device_open();
    lora = exchange_start(&l, (tiny){ 0 });
    doran = exchange_start(&d, (tiny){ 0 });
}

static void tear_down(void)
{
    for (int i = 0; i < 2; i++) free(theta[i]), theta[i] = NULL;
    exchange_end(&lora);
    exchange_end(&doran);
    device_close();
    empty_folder(cache);
    ck_assert_int_eq(0, rmdir(cache));
}

int main(int n, char **arguments)
{
    return run_scenarios(n, arguments, list, sizeof list / sizeof *list, undo_all, set_up, tear_down);
}

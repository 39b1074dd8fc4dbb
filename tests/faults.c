/* faults.c - every call that can fail does, one after the other. Per scenario and kind of fault: the first call fails, then the
 * second, ... until a run meets no fault. After each: the status is an error with a message (or the result is as without the
 * fault), nothing leaks, what the scenario works on is as it was, and the same call succeeds once the fault is over.
 *
 *     faults [--all] [SCENARIO]
 *
 * Without --all the later calls of a long scenario are sampled; those of the tuner always are. */
#include "fault/scenarios.h"

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

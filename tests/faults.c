/* faults.c - every call that can fail does, one after the other. Per scenario and kind of fault: the first call fails, then the
 * second, ... until a run meets no fault. After each: the status is an error with a message (or the result is as without the
 * fault), nothing leaks, what the scenario works on is as it was, and the same call succeeds once the fault is over.
 *
 *     faults [--all] [SCENARIO]
 *
 * Without --all the later calls of a long scenario are sampled; those of the tuner always are. */
#include "fault/scenarios.h"

#include <errno.h>
#include <limits.h>

static int all;
static const char *only; /* scenario */

/* ---- faults --------------------------------------------------------------------------------------------------------- */

typedef enum { CL_ONCE, CL_FROM_THEN, MEMORY_ONCE, MEMORY_FROM_THEN, FILE_ERROR, FILE_FULL, FILE_SHORT, FAULTS } fault;
static const char *const fault_names[FAULTS] = { "OpenCL call", "all OpenCL calls from there",
                                                 "allocation",  "all allocations from there",
                                                 "EIO",         "ENOSPC",
                                                 "short write" };

static void arm(fault f, long at)
{
    static const int codes[] = { 0, 0, CL_DEVICE_NOT_AVAILABLE, 0, CL_OUT_OF_RESOURCES };
    const host_gate closed = { .at = at, .sticky = f == MEMORY_FROM_THEN || f == FILE_FULL };
    if (f == CL_ONCE || f == CL_FROM_THEN) {
        layer->code = codes[(size_t)at % (sizeof codes / sizeof *codes)];
        layer->sticky = f == CL_FROM_THEN;
        layer->seen = layer->fired = 0;
        layer->at = at;
    } else if (f == MEMORY_ONCE || f == MEMORY_FROM_THEN) {
        host.memory = closed;
    } else {
        host.error = f == FILE_FULL ? ENOSPC : EIO;
        host.way = f == FILE_SHORT ? HOST_SHORT : HOST_ERROR;
        host.files = closed;
    }
}

/* Calls that failed. */
static long disarm(const char **call)
{
    const long fired = layer->fired + host.memory.fired + host.files.fired;
    *call = layer->fired ? layer->last : host.last;
    layer->at = layer->fired = layer->seen = 0;
    host.memory = host.files = (host_gate){ 0 };
    return fired;
}

static struct {
    long injected, failed, absorbed, survived, leaks;
} total, now;

/* The same without a fault. */
static void run_plain(int s)
{
    if (scenario[s].prepare) scenario[s].prepare();
    ck_ok(scenario[s].run());
    if (scenario[s].check) scenario[s].check();
    undo();
}

/* 0: no call was left to fail. */
static int inject(int s, fault f, long at)
{
    const char *call;
    host_mark();
    const fault_alive before = fault_count(layer);
    if (scenario[s].prepare) scenario[s].prepare();
    clpeft_device_count(NULL); /* a message to be replaced */
    arm(f, at);
    const clpeft_status status = scenario[s].run();
    const long fired = disarm(&call);
    now.injected += fired > 0;
    if (fired && status != CLPEFT_OK) {
        now.failed++;
        const char *text = clpeft_error_message();
        ck_assert_msg(*text && !strstr(text, "clpeft_device_count: count"), "%s, %s %ld (%s): no message, status %s",
                      scenario[s].name, fault_names[f], at, call, clpeft_status_text(status));
        if (scenario[s].failed) scenario[s].failed();
    } else {
        ck_assert_msg(status == CLPEFT_OK, "%s, without a fault: %s", scenario[s].name, clpeft_error_message());
        now.absorbed += fired > 0;
        if (scenario[s].check) scenario[s].check();
    }
    undo();
    if (fired) scenario[s].again ? scenario[s].again() : run_plain(s);
    const long leaks = fault_leaks(layer, &before);
    if (leaks)
        fprintf(stderr, "    after %s, %s %ld (%s): %s\n", scenario[s].name, fault_names[f], at, call,
                clpeft_status_text(status));
    now.leaks += leaks;
    now.survived += fired > 0;
    return fired > 0;
}

/* Calls of a run that can fail. */
static long count_calls(int s, fault f)
{
    if (scenario[s].prepare) scenario[s].prepare();
    arm(f, LONG_MAX);
    ck_ok(scenario[s].run());
    const long calls = layer->seen + host.memory.seen + host.files.seen;
    const char *call;
    disarm(&call);
    undo();
    return calls;
}

/* The first and the last calls, and as many between them. */
static int is_sampled(int s, long at, long calls)
{
    const long some = 32 / scenario[s].weight, step = calls / some + 1;
    return all || at <= some || at > calls - some || at % step == 0;
}

/* The tuner takes long, and one failed candidate costs it nothing. */
static void inject_tuner(int s)
{
    for (long at = 1; (all || at < 300) && inject(s, CL_FROM_THEN, at);) at *= 3;
    for (long at = 1; (all || at < 300) && inject(s, MEMORY_FROM_THEN, at);) at *= 3;
}

START_TEST(a_scenario_survives)
{
    if (only && strcmp(only, scenario[_i].name) != 0) return;
    memset(&now, 0, sizeof now);
    if (scenario[_i].again) {
        inject_tuner(_i);
    } else {
        run_plain(_i); /* caches are filled */
        for (fault f = 0; f < FAULTS; f++)
            for (long at = 1, calls = count_calls(_i, f); at <= calls; at++)
                if (is_sampled(_i, at, calls)) inject(_i, f, at);
    }
    printf("%-12s %8ld %8ld %8ld %8ld %8ld\n", scenario[_i].name, now.injected, now.failed, now.absorbed, now.survived,
           now.leaks);
    fflush(stdout);
    total.injected += now.injected, total.failed += now.failed, total.absorbed += now.absorbed;
    total.survived += now.survived, total.leaks += now.leaks;
    ck_assert_int_eq(0, now.leaks);
    ck_assert_int_eq(0, layer->out_of_range);
}
END_TEST

/* ---- the program ----------------------------------------------------------------------------------------------------- */

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

static void add(TCase *t)
{
    tcase_add_loop_test(t, a_scenario_survives, 0, sizeof scenario / sizeof *scenario);
}

int main(int n, char **arguments)
{
    for (int i = 1; i < n; i++)
        if (strcmp(arguments[i], "--all") == 0)
            all = 1;
        else
            only = arguments[i];
    layer = fault_start();
    setenv("CK_FORK", "no", 1);
    printf("%-12s %8s %8s %8s %8s %8s\n", "scenario", "injected", "errors", "absorbed", "survived", "leaks");
    const int failed = run_tests("faults", add, 0, set_up, tear_down);
    printf("%-12s %8ld %8ld %8ld %8ld %8ld\n", "all", total.injected, total.failed, total.absorbed, total.survived,
           total.leaks);
    return failed;
}

/* inject.h - the loop of fault tests: one call after the other fails in each scenario of a program. */
#ifndef TEST_FAULT_INJECT_H
#define TEST_FAULT_INJECT_H

#include "fault.h"

#include <errno.h>
#include <limits.h>

/* Prepared, run under faults, checked, undone. All but run may be NULL. */
typedef struct {
    const char *name;
    void (*prepare)(void);
    clpeft_status (*run)(void);
    void (*check)(void);  /* after success */
    void (*failed)(void); /* after a failure: what it worked on is as it was */
    int weight;           /* how many times longer than others a run takes */
    void (*again)(void);  /* what must go well afterwards; NULL: the same without a fault */
} fault_scenario;

static fault_control *layer;
static const fault_scenario *scenarios;
static void (*undo)(void); /* destroys what a scenario made */
static int all;            /* every call fails once, also in long scenarios */
static const char *only;   /* the one scenario to go through */

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
    if (scenarios[s].prepare) scenarios[s].prepare();
    ck_ok(scenarios[s].run());
    if (scenarios[s].check) scenarios[s].check();
    undo();
}

/* The status that a fault should lead to: OpenCL's code, no memory, or a file error. */
static int is_right(fault f, clpeft_status status)
{
    if (f == MEMORY_ONCE || f == MEMORY_FROM_THEN) return status == CLPEFT_OUT_OF_HOST_MEMORY;
    if (f != CL_ONCE && f != CL_FROM_THEN) return status == CLPEFT_FILE_ERROR;
    if (f == CL_FROM_THEN && status > -1000) return 1; /* the first may have been got over, not the next */
    if (status == CLPEFT_INTERNAL) return strstr(clpeft_error_message(), "CLBlast") != NULL; /* a code of its own */
    return status == layer->first || status == CLPEFT_NO_DEVICE;
}

/* 0: no call was left to fail. */
static int inject(int s, fault f, long at)
{
    const char *call;
    host_mark();
    const fault_alive before = fault_count(layer);
    if (scenarios[s].prepare) scenarios[s].prepare();
    clpeft_device_count(NULL); /* a message to be replaced */
    arm(f, at);
    const clpeft_status status = scenarios[s].run();
    const long fired = disarm(&call);
    now.injected += fired > 0;
    if (fired && status != CLPEFT_OK) {
        now.failed++;
        const char *text = clpeft_error_message();
        ck_assert_msg(*text && !strstr(text, "clpeft_device_count: count"), "%s, %s %ld (%s): no message, status %s",
                      scenarios[s].name, fault_names[f], at, call, clpeft_status_text(status));
        ck_assert_msg(is_right(f, status), "%s, %s %ld (%s): %s: %s", scenarios[s].name, fault_names[f], at, call,
                      clpeft_status_text(status), text);
        if (scenarios[s].failed) scenarios[s].failed();
    } else {
        ck_assert_msg(status == CLPEFT_OK, "%s, without a fault: %s", scenarios[s].name, clpeft_error_message());
        now.absorbed += fired > 0;
        if (scenarios[s].check) scenarios[s].check();
    }
    undo();
    if (fired) scenarios[s].again ? scenarios[s].again() : run_plain(s);
    const long leaks = fault_leaks(layer, &before);
    if (leaks)
        fprintf(stderr, "    after %s, %s %ld (%s): %s\n", scenarios[s].name, fault_names[f], at, call,
                clpeft_status_text(status));
    now.leaks += leaks;
    now.survived += fired > 0;
    return fired > 0;
}

/* Calls of a run that can fail. */
static long count_calls(int s, fault f)
{
    if (scenarios[s].prepare) scenarios[s].prepare();
    arm(f, LONG_MAX);
    ck_ok(scenarios[s].run());
    const long calls = layer->seen + host.memory.seen + host.files.seen;
    const char *call;
    disarm(&call);
    undo();
    return calls;
}

/* The first and the last calls, and as many between them. */
static int is_sampled(int s, long at, long calls)
{
    const long some = 32 / scenarios[s].weight, step = calls / some + 1;
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
    if (only && strcmp(only, scenarios[_i].name) != 0) return;
    memset(&now, 0, sizeof now);
    if (scenarios[_i].again) {
        inject_tuner(_i);
    } else {
        run_plain(_i); /* caches are filled */
        for (fault f = 0; f < FAULTS; f++)
            for (long at = 1, calls = count_calls(_i, f); at <= calls; at++)
                if (is_sampled(_i, at, calls)) inject(_i, f, at);
    }
    printf("%-12s %8ld %8ld %8ld %8ld %8ld\n", scenarios[_i].name, now.injected, now.failed, now.absorbed, now.survived,
           now.leaks);
    fflush(stdout);
    total.injected += now.injected, total.failed += now.failed, total.absorbed += now.absorbed;
    total.survived += now.survived, total.leaks += now.leaks;
    ck_assert_int_eq(0, now.leaks);
    ck_assert_int_eq(0, layer->out_of_range);
}
END_TEST

static int n_scenarios;

static void add_scenarios(TCase *t)
{
    tcase_add_loop_test(t, a_scenario_survives, 0, n_scenarios);
}

/* main of a program: its list of n scenarios, in a set up and torn down environment each. */
static inline int run_scenarios(int argc, char **argv, const fault_scenario *list, int n, void (*undoing)(void),
                                SFun set_up, SFun tear_down)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--all") == 0)
            all = 1;
        else
            only = argv[i];
    scenarios = list, n_scenarios = n, undo = undoing;
    layer = fault_start();
    setenv("CK_FORK", "no", 1);
    printf("%-12s %8s %8s %8s %8s %8s\n", "scenario", "injected", "errors", "absorbed", "survived", "leaks");
    const int failed = run_tests("faults", add_scenarios, 0, set_up, tear_down);
    printf("%-12s %8ld %8ld %8ld %8ld %8ld\n", "all", total.injected, total.failed, total.absorbed, total.survived,
           total.leaks);
    return failed;
}

#endif

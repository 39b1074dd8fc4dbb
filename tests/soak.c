/* soak.c - many training steps: memory and device objects stay as they are, and a second run ends with the same bits.
 *
 *     soak [STEPS]      of each run; 300 without */
#include "exchange.h"
#include "fault/fault.h"

#ifdef __SANITIZE_ADDRESS__ /* which keeps freed memory for a while */
enum { WARM = 100, MOST_KB = 1 << 20 };
#else
enum { WARM = 100, MOST_KB = 1024 };
#endif

static fault_control *layer;
static exchange x;
static long steps = 300;

static long resident_kb(void)
{
    long pages = 0, kb = -1;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%*d %ld", &pages) == 1) kb = pages * (sysconf(_SC_PAGESIZE) / 1024);
    if (file) fclose(file);
    return kb;
}

/* Batches of another size and order at each step; every 50th step is followed by an evaluation and a checkpoint. */
static void take_step(clpeft_trainer *trainer, long i)
{
    int32_t labels[5];
    float logits[15];
    clpeft_step_result result;
    clpeft_batch batch = tiny_batch;

    batch.S = 2 + (size_t)i % 4;
    for (long q = 0; q < 5; q++) labels[q] = (int32_t)((q + i) % 3);
    batch.labels = labels;
    ck_ok(clpeft_train_step(trainer, &batch, i % 3 ? NULL : &result));
    if (i % 50) return;
    ck_ok(clpeft_trainer_evaluate(trainer, &tiny_batch, logits, NULL, NULL));
    ck_ok(clpeft_trainer_save(trainer, exchange_path(&x, "checkpoint"), NULL, 0));
}

/* Parameters after all steps; free(). */
static float *run(size_t *n)
{
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORAN);
    clpeft_trainer *trainer;
    fault_alive before = { 0 };
    long memory = 0;

    ck_ok(clpeft_trainer_create(&trainer, x.model, &o));
    for (long i = 0; i < steps; i++) {
        if (i == WARM) {
            clFinish(clpeft_trainer_queue(trainer));
            before = fault_count(layer), memory = resident_kb();
            host_mark();
        }
        take_step(trainer, i);
    }
    clFinish(clpeft_trainer_queue(trainer));
    const long grown = resident_kb() - memory, leaks = fault_leaks(layer, &before);
    printf("%ld steps: %+ld kB of memory in the last %ld, %ld more objects and allocations\n", steps, grown,
           steps - WARM, leaks);
    ck_assert_int_eq(0, leaks);
    ck_assert_int_eq(0, layer->out_of_range);
    ck_assert_msg(grown < MOST_KB, "%ld kB", grown);
    ck_assert_uint_eq((uint64_t)steps, clpeft_trainer_steps(trainer));
    *n = clpeft_params_size(clpeft_trainer_params(trainer));
    float *theta = malloc(*n * sizeof *theta);
    ck_ok(clpeft_params_read(clpeft_trainer_params(trainer), CLPEFT_THETA, NULL, theta, clpeft_trainer_queue(trainer)));
    clpeft_trainer_destroy(trainer);
    return theta;
}

START_TEST(nothing_grows)
{
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORAN);
    size_t n, again;

    device_open();
    x = exchange_start(&o, (tiny){ 0 });
    float *first = run(&n), *second = run(&again);
    ck_assert_uint_eq(n, again);
    ck_assert_mem_eq(first, second, n * sizeof *first);
    for (size_t i = 0; i < n; i++) ck_assert(isfinite(first[i]));
    free(first), free(second);
    exchange_end(&x);
    device_close();
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, nothing_grows);
}

int main(int n, char **arguments)
{
    if (n > 1) steps = atol(arguments[1]);
    if (steps <= WARM) {
        fprintf(stderr, "soak [STEPS], more than %d\n", WARM);
        return 2;
    }
    layer = fault_start();
    setenv("CK_FORK", "no", 1);
    return run_tests("soak", add, 0, NULL, NULL);
}

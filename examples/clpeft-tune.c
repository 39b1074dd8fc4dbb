/* clpeft-tune.c - measure which kernel parameters suit a device and keep them. */
#include "clpeft.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: clpeft-tune [--device N|NAME] [--list]\n"
    "Measures the parameters of the kernels on a device and keeps the best in the cache folder\n"
    "($XDG_CACHE_HOME/clpeft). Let nothing else run meanwhile.\n"
    "  -d, --device   index or part of a name (default: $CLPEFT_DEVICE, else the first GPU, else the first device)\n"
    "  -l, --list     list the devices\n"
    "  -h, --help     this text\n";

static int fail(void)
{
    fprintf(stderr, "clpeft-tune: %s\n", clpeft_error_message());
    return 2;
}

static int list_devices(void)
{
    size_t n = 0;
    char name[300];

    if (clpeft_device_count(&n) != CLPEFT_OK) return fail();
    for (size_t i = 0; i < n; i++)
        if (clpeft_device_name(i, name, sizeof name) == CLPEFT_OK) printf("%zu  %s\n", i, name);
    return 0;
}

/* A bar that is redrawn on a terminal; a line per candidate elsewhere. */
static void show(void *user, const clpeft_tune_step *step)
{
    const int terminal = *(const int *)user;
    char bar[33];

    for (unsigned i = 0; i < 32; i++) bar[i] = i * step->total < step->done * 32 ? '#' : '.';
    bar[32] = 0;
    if (terminal)
        printf("\r[%s] %2u/%u  %-24s %7.1f GFLOPS%s\033[K", bar, step->done, step->total, step->what, step->gflops,
               step->best ? " *" : "");
    else
        printf("%2u/%u  %-24s %7.1f GFLOPS%s\n", step->done, step->total, step->what, step->gflops,
               step->best ? " *" : "");
    fflush(stdout);
}

static void describe(const char *when, const clpeft_device_info *i)
{
    if (i->panel_gemm)
        printf("%s: panels, tile %u x %u\n", when, i->tile_rows, 2 * i->vector);
    else
        printf("%s: CLBlast, groups of %u\n", when, i->group);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "device", required_argument, 0, 'd' }, { "list", no_argument, 0, 'l' }, { "help", no_argument, 0, 'h' }, { 0 }
    };
    clpeft_context_options wanted = { 0 };
    clpeft_context *ctx = NULL;
    clpeft_tune_result result;
    int terminal = isatty(STDOUT_FILENO), option;

    while ((option = getopt_long(argc, argv, "d:lh", options, NULL)) != -1) {
        if (option == 'd')
            wanted.select = optarg;
        else if (option == 'l')
            return list_devices();
        else
            return fputs(usage, option == 'h' ? stdout : stderr), option == 'h' ? 0 : 2;
    }
    if (optind < argc) return fprintf(stderr, "clpeft-tune: unexpected argument %s\n", argv[optind]), 2;
    if (clpeft_context_create(&ctx, &wanted) != CLPEFT_OK) return fail();
    if (clpeft_tune(ctx, show, &terminal, &result) != CLPEFT_OK) {
        clpeft_context_destroy(ctx);
        return fail();
    }
    printf("%s%s: %s\n", terminal ? "\n" : "", result.before.platform, result.before.name);
    describe("before", &result.before);
    describe("after ", &result.after);
    printf("%-22s %10s %10s %7s\n", "product", "before", "after", "ratio");
    for (size_t i = 0; i < CLPEFT_TUNE_SHAPES; i++) {
        char shape[64];
        snprintf(shape, sizeof shape, "%zu x %zu x %zu", result.shape[i].M, result.shape[i].N, result.shape[i].K);
        printf("%-22s %10.1f %10.1f %7.2f\n", shape, result.shape[i].before, result.shape[i].after,
               result.shape[i].after / result.shape[i].before);
    }
    clpeft_context_destroy(ctx);
    return 0;
}

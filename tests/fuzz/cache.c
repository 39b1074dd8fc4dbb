/* cache.c - libFuzzer: any bytes as a cache file, as it is and with a head, a length and a sum that are right; and as a result of
 * tuning, after which the parameters are ones that kernels can be built with. */
#include "cache.h"
#include "scratch.h"
#include "tune.h"

#include <assert.h>
#include <dirent.h>

/* The one file in the folder. */
static char *only_file(const char *dir, char *path, size_t size)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') snprintf(path, size, "%s/%s", dir, e->d_name);
    if (d) closedir(d);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static clpeft_context ctx = { .info = { .platform = "p", .name = "n", .driver = "d", .version = "v" } };
    char path[300] = "", key[800], device[700];
    size_t n = 0;

    if (!ctx.cache_dir) {
        ctx.cache_dir = strdup(scratch_path("cache"));
        mkdir(ctx.cache_dir, 0700);
    }
    clp_cache_device(&ctx, device, sizeof device);
    snprintf(key, sizeof key, "tuning %zu|%s", sizeof(clp_tuning), device);
    clp_cache_store(&ctx, key, bytes, size);
    unsigned char *kept = clp_cache_load(&ctx, key, &n);
    assert(size == 0 || (kept && n == size && memcmp(kept, bytes, size) == 0));
    free(kept);
    clp_tune_choose(&ctx);
    assert(ctx.tuning.block >= 1 && ctx.tuning.depth >= 64 && ctx.tuning.tile_rows >= 2 && ctx.tuning.group >= 1);

    only_file(ctx.cache_dir, path, sizeof path);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size) abort();
    fclose(f);
    kept = clp_cache_load(&ctx, key, &n);
    assert(!kept || n < size);
    free(kept);
    return 0;
}

/* cache.c - a cache file is  "clpeft1\n" | u64 key length | key | u64 size | u64 FNV-1a of the bytes | bytes,  named by a hash of its
 * key. */
#include "cache.h"

#include "clpeft/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[8] = "clpeft1\n";
enum { HEAD = sizeof MAGIC + 8, TAIL = 16, MAX_SIZE = 1 << 28 };

uint64_t clp_fnv(uint64_t hash, const void *bytes, size_t n)
{
    for (const unsigned char *p = bytes, *end = p + n; p < end; p++) hash = (hash ^ *p) * 1099511628211u;
    return hash;
}

void clp_cache_device(const clpeft_context *ctx, char *text, size_t size)
{
    const clpeft_device_info *i = &ctx->info;
    snprintf(text, size, "%s|%s|%s|%s|%s", clpeft_version(), i->platform, i->name, i->driver, i->version);
}

static void make_path(const clpeft_context *ctx, const char *key, char *path, size_t size)
{
    snprintf(path, size, "%s/%016llx.bin", ctx->cache_dir,
             (unsigned long long)clp_fnv(CLP_FNV_START, key, strlen(key)));
}

/* All bytes of a regular file that is ours and that only we can write. */
static unsigned char *read_own(const char *path, size_t *size)
{
    unsigned char *bytes = NULL;
    struct stat st;
    size_t have = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0) return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022) && st.st_size > 0 &&
        st.st_size < MAX_SIZE)
        bytes = malloc((size_t)st.st_size);
    while (bytes && have < (size_t)st.st_size) {
        const ssize_t n = read(fd, bytes + have, (size_t)st.st_size - have);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        have += (size_t)n;
    }
    close(fd);
    if (bytes && have == (size_t)st.st_size) {
        *size = have;
        return bytes;
    }
    free(bytes);
    return NULL;
}

static uint64_t u64_at(const unsigned char *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

unsigned char *clp_cache_load(const clpeft_context *ctx, const char *key, size_t *size)
{
    const size_t key_size = strlen(key), start = HEAD + key_size + TAIL;
    char path[4200];
    size_t have = 0;

    if (!ctx->cache_dir) return NULL;
    make_path(ctx, key, path, sizeof path);
    unsigned char *bytes = read_own(path, &have);
    if (!bytes) return NULL;
    if (have > start && !memcmp(bytes, MAGIC, sizeof MAGIC) && u64_at(bytes + sizeof MAGIC) == key_size &&
        !memcmp(bytes + HEAD, key, key_size) && u64_at(bytes + HEAD + key_size) == have - start &&
        u64_at(bytes + HEAD + key_size + 8) == clp_fnv(CLP_FNV_START, bytes + start, have - start)) {
        *size = have - start;
        memmove(bytes, bytes + start, *size);
        return bytes;
    }
    free(bytes);
    return NULL;
}

/* Make every folder of path, mode 0700; a failure shows when the file is written. */
static void make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0700);
            *p = '/';
        }
    mkdir(path, 0700);
}

void clp_cache_store(const clpeft_context *ctx, const char *key, const void *bytes, size_t size)
{
    const size_t key_size = strlen(key), start = HEAD + key_size + TAIL;
    const uint64_t fields[3] = { key_size, size, clp_fnv(CLP_FNV_START, bytes, size) };
    char path[4200];
    unsigned char *file = ctx->cache_dir && size < MAX_SIZE - start ? malloc(start + size) : NULL;

    if (!file) return;
    memcpy(file, MAGIC, sizeof MAGIC);
    memcpy(file + sizeof MAGIC, &fields[0], 8);
    memcpy(file + HEAD, key, key_size);
    memcpy(file + HEAD + key_size, &fields[1], TAIL);
    memcpy(file + start, bytes, size);
    snprintf(path, sizeof path, "%s", ctx->cache_dir);
    make_folders(path);
    make_path(ctx, key, path, sizeof path);
    clpeft_file_replace(path, file, start + size);
    free(file);
}

/* cache.h - files that can be made again: compiled kernels and tuning results. */
#ifndef CLP_CACHE_H
#define CLP_CACHE_H

#include "device.h"

/* FNV-1a. */
#define CLP_FNV_START 14695981039346656037u
uint64_t clp_fnv(uint64_t hash, const void *bytes, size_t n);

/* Platform, device, driver and version: what a cached file is good for. */
void clp_cache_device(const clpeft_context *ctx, char *text, size_t size);

/* The bytes kept under a key, to be freed; NULL when there are none, or none that can be trusted: a file that is not ours, that others
 * can write, of another key, of a wrong length or a wrong sum. */
unsigned char *clp_cache_load(const clpeft_context *ctx, const char *key, size_t *size);

/* Keep bytes under a key, atomically, in a file of mode 0600 in a folder made 0700. Without a cache folder, or when it cannot be
 * written, nothing happens: the next start makes them again. */
void clp_cache_store(const clpeft_context *ctx, const char *key, const void *bytes, size_t size);

#endif

/* json.h - strict JSON with unsigned 64-bit integers, which jansson's own signed ones cannot hold. */
#ifndef CLP_FILE_JSON_H
#define CLP_FILE_JSON_H

#include "clpeft/core.h"

#include <jansson.h>

/* Parse one JSON object, which must start with the first byte of text. Refuses a key that stands twice in an object,
 * and 128 or more levels of nesting. The numbers in *root are for clp_json_u64 only; text must stay. */
clpeft_status clp_json_parse(json_t **root, const char *text, size_t size);

/* The value of a plain integer in 0 .. 2^64 - 1. Returns 0 for anything else: -1, -0, 2.0, 2e0, "2", 2^64. */
int clp_json_u64(const json_t *value, const char *text, uint64_t *out);

#endif

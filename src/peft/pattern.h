/* pattern.h - the regular expressions of rank_pattern and alpha_pattern. */
#ifndef CLP_PEFT_PATTERN_H
#define CLP_PEFT_PATTERN_H

#include "status.h"

#include <jansson.h>

/* values[i] of every path i = the value of the first pattern, in the object's order, of which (.*\.)?(PATTERN)$
 * matches the path as Python's re.match does; the others stay as they are.
 * Errors:  CLPEFT_UNSUPPORTED  an expression with more than literals, ., \d, \w, [...], (...), (?:...), |, *, +, ?, ^
 *          and $, longer than 256 bytes or nested deeper than 4 groups; more than 4096 patterns */
clpeft_status clp_pattern_values(const json_t *patterns, size_t n, char *const *paths, double *values);

#endif

/* status.h - how a function of the library fails: it records one line of detail and returns a status. */
#ifndef CLP_STATUS_H
#define CLP_STATUS_H

#include "clpeft/core.h"

/* Record the detail of a failure for clpeft_error_message and return code. */
__attribute__((format(printf, 2, 3))) clpeft_status clp_fail(clpeft_status code, const char *format, ...);

/* Put "prefix: " before the recorded detail: where the failure was met. */
__attribute__((format(printf, 1, 2))) void clp_fail_in(const char *format, ...);

/* Leave through the label `out` with the status of a failed call. The callee recorded the detail. */
#define TRY(call)                                     \
    do {                                              \
        if ((status = (call)) != CLPEFT_OK) goto out; \
    } while (0)

/* Leave through `out` with code and a detail unless cond holds: REQUIRE(N > 0, CLPEFT_INVALID_SIZE, "clpeft_x: N is 0"). */
#define REQUIRE(cond, code, ...)                    \
    do {                                            \
        if (!(cond)) {                              \
            status = clp_fail((code), __VA_ARGS__); \
            goto out;                               \
        }                                           \
    } while (0)

/* Leave through `out` when an OpenCL call fails; what names the call. */
#define TRY_CL(call, what)                                                         \
    do {                                                                           \
        const cl_int code_ = (call);                                               \
        if (code_ != CL_SUCCESS) {                                                 \
            status = clp_fail(code_, "%s: %s", (what), clpeft_status_text(code_)); \
            goto out;                                                              \
        }                                                                          \
    } while (0)

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* a * b and a + b of sizes; 0 when they do not overflow. */
#define clp_mul(a, b, result) __builtin_mul_overflow((a), (b), (result))
#define clp_sum(a, b, result) __builtin_add_overflow((a), (b), (result))

static inline size_t clp_round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

#endif

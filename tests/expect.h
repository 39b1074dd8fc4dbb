/* expect.h - what all tests share: a call succeeds or fails as it should; a suite runs. */
#ifndef TEST_EXPECT_H
#define TEST_EXPECT_H

#include "clpeft.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ck_ok(call) ck_assert_msg((call) == CLPEFT_OK, "%s: %s", #call, clpeft_error_message())
/* The call fails with code and tells why in a message that holds text. */
#define ck_fails(code, text, call)                                                                                 \
    do {                                                                                                           \
        ck_assert_str_eq(clpeft_status_text(call), #code);                                                         \
        ck_assert_msg(strstr(clpeft_error_message(), text), "message \"%s\" lacks \"%s\"", clpeft_error_message(), \
                      text);                                                                                       \
    } while (0)

/* How many of the n cases of a table are run: all, or as many as CLPEFT_TEST_CASES says, for a device that takes long. */
static inline int cases_of(int n)
{
    const char *text = getenv("CLPEFT_TEST_CASES");
    const int most = text ? atoi(text) : 0;
    return most > 0 && most < n ? most : n;
}

/* Run a suite's tests, each between set_up and tear_down in a process of its own (CK_FORK=no: in this one); main returns
 * this. Both may be NULL. */
static inline int run_tests(const char *name, void (*add)(TCase *), double seconds, SFun set_up, SFun tear_down)
{
    Suite *suite = suite_create(name);
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, seconds);
    tcase_add_checked_fixture(t, set_up, tear_down);
    add(t);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif

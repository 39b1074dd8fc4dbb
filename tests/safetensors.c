/* safetensors.c - which headers a safetensors file may have: the rules that the fixtures leave out. */
#include "walk.h"

/* Headers beside the fixtures. The data section has 8 bytes, or as many as given. */
static const struct {
    const char *header;
    int data, accept;
} header[] = {
#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
    { "{" A "}", 8, 1 },
    { "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[0,9223372036854775808,2],\"data_offsets\":[8,8]}}", 8, 1 },
    { "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[0,18446744073709551615],\"data_offsets\":[0,0]}}", 8, 1 },
    { "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[0,18446744073709551616],\"data_offsets\":[0,0]}}", 8, 0 },
    { "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[9223372036854775808,4,0],\"data_offsets\":[8,8]}}", 8, 0 },
    { "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[4,4]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"I8\",\"shape\":[2305843009213693952],\"data_offsets\":[0,2305843009213693952]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"F4\",\"shape\":[16],\"data_offsets\":[0,8]}}", 8, 1 },
    { "{\"a\":{\"dtype\":\"F4\",\"shape\":[15],\"data_offsets\":[0,8]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[0,3]}}", 3, 1 },
    { "{\"a\":{\"dtype\":\"F32\\u0000\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"Q4_0\",\"shape\":[32],\"data_offsets\":[0,18]}}", 18, 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2e0],\"data_offsets\":[0,8]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[02],\"data_offsets\":[0,8]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[+2],\"data_offsets\":[0,8]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,-0],\"data_offsets\":[0,8]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-0,8]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[null],\"data_offsets\":[0,8]}}", 8, 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]} }\n\t\r ", 8, 1 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],}}", 8, 0 },
    { "{\"a\":[\"F32\",[2],[0,8]]}", 8, 0 },
    { "{\"a\":null}", 0, 0 },
    { "{" A ",\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 8, 0 },
    { "{\"a\\u0000\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 0 },
    { "{\"\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 1 },
    { "{\"__metadata__\":null," A "}", 8, 0 },
    { "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}," A "}", 8, 0 },
    { "{\"__metadata__\":{\"a\":\"\\u0000\\u00e9\"}," A "}", 8, 1 },
    { "{\"__metadata__\":{\"a\":\"\xc3\xa9\"}," A "}", 8, 1 },
    { "{\"__metadata__\":{\"a\":\"\xc0\xaf\"}," A "}", 8, 0 },     /* overlong */
    { "{\"__metadata__\":{\"a\":\"\xed\xa0\x80\"}," A "}", 8, 0 }, /* an encoded surrogate */
    { "{\"__metadata__\":{\"a\":\"\\udc00\\ud800\"}," A "}", 8, 0 },
    { "{\"__metadata__\":{\"a\":\"0123 [{\\\"5\"}," A "}", 8, 1 },
#define WITH(field) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":" field "}}"
    { WITH("123456789012345678901234567890"), 8, 1 },
    { WITH("-123456789012345678901234567890"), 8, 1 },
    { WITH("[1.5, -2.5e-3, 0, 0.0, 1E+2, 1e-999]"), 8, 1 },
    { WITH("1e999"), 8, 0 },
    { WITH("1."), 8, 0 },
    { WITH("00"), 8, 0 },
    { WITH("1 2"), 8, 0 },
    { WITH("NaN"), 8, 0 },
    { WITH("\"\\ud800\""), 8, 0 },
    { WITH("\"\\x\""), 8, 0 },
    { "{" A "}}", 8, 0 },
    { "{" A, 8, 0 },
    { "{" A "}/**/", 8, 0 },
};

static clpeft_status parse_header(const char *text, size_t length, size_t data, clpeft_file **file)
{
    const uint64_t n = length;
    unsigned char *bytes = calloc(1, 8 + length + data);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, text, length);
    const clpeft_status status = clp_file_parse(file, bytes, 8 + length + data, CLPEFT_SAFETENSORS);
    if (status == CLPEFT_OK) walk(*file);
    free(bytes);
    return status;
}

START_TEST(headers_are_judged_by_the_rules)
{
    clpeft_file *file = NULL;
    const clpeft_status status =
        parse_header(header[_i].header, strlen(header[_i].header), (size_t)header[_i].data, &file);
    ck_assert_msg(status == (header[_i].accept ? CLPEFT_OK : CLPEFT_INVALID_FILE), "%s: %s", header[_i].header,
                  status == CLPEFT_OK ? "accepted" : clpeft_error_message());
    clpeft_file_close(file);
}
END_TEST

/* Behind any byte of a good header a zero byte makes it a bad one. */
START_TEST(zero_bytes_are_refused)
{
    const char *good = "{" A "}  ";
    const size_t n = strlen(good);
    for (size_t i = 0; i <= n; i++) {
        char text[100] = "";
        clpeft_file *file = NULL;
        memcpy(text, good, i);
        memcpy(text + i + 1, good + i, n - i);
        ck_fails(CLPEFT_INVALID_FILE, "zero byte", parse_header(text, n + 1, 8, &file));
    }
}
END_TEST

START_TEST(nesting_is_limited_to_127_levels)
{
    for (size_t depth = 120; depth < 300; depth++) { /* the header and the entry are two */
        char brackets[600] = "", text[800];
        clpeft_file *file = NULL;
        memset(brackets, '[', depth - 2);
        memset(brackets + depth - 2, ']', depth - 2);
        const int n = snprintf(text, sizeof text, WITH("%s"), brackets);
        ck_assert_int_eq(depth <= 127 ? CLPEFT_OK : CLPEFT_INVALID_FILE, parse_header(text, (size_t)n, 8, &file));
        clpeft_file_close(file);
    }
}
END_TEST

START_TEST(a_refusal_tells_the_byte)
{
    clpeft_file *file = NULL;
    const char *text = "{\"one\":[1,22,333,4444,x]}";
    ck_fails(CLPEFT_INVALID_FILE, "byte 23", parse_header(text, strlen(text), 0, &file));
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, headers_are_judged_by_the_rules, 0, sizeof header / sizeof *header);
    tcase_add_test(t, zero_bytes_are_refused);
    tcase_add_test(t, nesting_is_limited_to_127_levels);
    tcase_add_test(t, a_refusal_tells_the_byte);
}

int main(void)
{
    return run_tests("safetensors", add, 60, NULL, NULL);
}

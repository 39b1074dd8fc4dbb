/* gguf.c - the values of a GGUF file, and the rules that the fixtures leave out. */
#include "walk.h"

static const struct {
    const char *key;
    clpeft_meta_type type;
    int64_t integer;
    double number;
} value[] = {
    { "a", CLPEFT_META_INT, 255, 0 },       { "b", CLPEFT_META_INT, -1, 0 },  { "c", CLPEFT_META_INT, 65535, 0 },
    { "d", CLPEFT_META_INT, -1, 0 },        { "e", CLPEFT_META_INT, 7, 0 },   { "f", CLPEFT_META_INT, -7, 0 },
    { "g", CLPEFT_META_FLOAT, 0, 1.5 },     { "h", CLPEFT_META_BOOL, 1, 0 },  { "i", CLPEFT_META_STRING, 0, 0 },
    { "j", CLPEFT_META_INT, INT64_MIN, 0 }, { "k", CLPEFT_META_INT, -1, 0 },  { "l", CLPEFT_META_FLOAT, 0, 0.1 },
    { "m", CLPEFT_META_ARRAY, 0, 0 },       { "n", CLPEFT_META_ARRAY, 0, 0 },
};

START_TEST(a_gguf_file_hands_out_every_type_of_value)
{
    clpeft_file *file = NULL;
    clpeft_meta item;
    ck_ok(clpeft_file_open(&file, TEST_DIR "/fixtures/bad_gguf/ok_all_types.gguf"));
    for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
        const clpeft_meta *meta = clpeft_file_meta_find(file, value[i].key);
        ck_assert_ptr_nonnull(meta);
        ck_assert_int_eq(value[i].type, meta->type);
        ck_assert_int_eq(value[i].integer, meta->integer);
        ck_assert_double_eq(value[i].number, meta->number);
        if (meta->type != CLPEFT_META_ARRAY) ck_assert_int_eq(0, clpeft_file_meta_item(file, meta, 0, &item));
    }
    ck_assert_str_eq("llama", clpeft_file_meta_find(file, "general.architecture")->string);
    const clpeft_meta *strings = clpeft_file_meta_find(file, "m");
    ck_assert_uint_eq(2, strings->count);
    ck_assert_int_eq(CLPEFT_META_STRING, strings->element);
    ck_assert(clpeft_file_meta_item(file, strings, 1, &item) && item.string_bytes == 0);
    ck_assert(clpeft_file_meta_item(file, strings, 0, &item) && item.string_bytes == 1 && item.string[0] == 'x');
    ck_assert(!clpeft_file_meta_item(file, strings, 2, &item));
    ck_assert(clpeft_file_meta_item(file, clpeft_file_meta_find(file, "p"), 1, &item) && item.integer == 2);
    ck_assert(clpeft_file_meta_item(file, clpeft_file_meta_find(file, "o"), 0, &item) && item.integer == 0);
    ck_assert(!clpeft_file_meta_item(file, clpeft_file_meta_find(file, "n"), 0, &item));
    const clpeft_meta foreign = *strings;
    ck_assert(!clpeft_file_meta_item(file, &foreign, 0, &item));
    clpeft_file_close(file);
}
END_TEST

/* A file of one value and one tensor, each given as bytes; the data section is 32 bytes. */
#define B(text) text, sizeof text - 1
static const struct {
    const char *value;
    size_t value_bytes;
    const char *info;
    size_t info_bytes;
    const char *refusal; /* NULL: accepted */
} file_of[] = {
#define K       "\1\0\0\0\0\0\0\0k"
#define U32     "\4\0\0\0\1\0\0\0"
#define W       "\1\0\0\0\0\0\0\0w"
#define NE(x)   x "\0\0\0\0\0\0\0"
#define TYPE(x) x "\0\0\0"
#define AT_0    "\0\0\0\0\0\0\0\0"
    { B(K U32), B(W TYPE("\1") NE("\10") TYPE("\0") AT_0), NULL },
    { B(K TYPE("\11") TYPE("\15") NE("\0")), B(W TYPE("\0") TYPE("\0") AT_0), "element type 13" },
    { B(K TYPE("\11") TYPE("\11") NE("\0")), B(W TYPE("\0") TYPE("\0") AT_0), "array of arrays" },
    { B("\3\0\0\0\0\0\0\0k\0k" U32), B(W TYPE("\0") TYPE("\0") AT_0), NULL },
    { B(K U32), B("\3\0\0\0\0\0\0\0w\0w" TYPE("\0") TYPE("\0") AT_0), "zero byte" },
    { B(K U32), B("\0\0\0\0\0\0\0\0" TYPE("\0") TYPE("\0") AT_0), NULL },
    { B(K U32),
      B(W TYPE("\3") NE("\0") "\0\0\0\0\0\0\0\100"
                              "\0\0\0\0\0\0\0\100" TYPE("\0") AT_0),
      NULL },
    { B(K U32),
      B(W TYPE("\3") "\0\0\0\0\0\0\0\100"
                     "\0\0\0\0\0\0\0\100" NE("\0") TYPE("\0") AT_0),
      "overflows" },
    { B(K U32), B(W TYPE("\1") NE("\11") TYPE("\0") AT_0), "36 bytes" },
    { B(K U32), B(W TYPE("\1") NE("\4") TYPE("\0") AT_0), NULL }, /* trailing bytes */
    { B(K U32), B(W TYPE("\1") NE("\0") TYPE("\2") AT_0), NULL },
    { B(K U32), B(W TYPE("\0") TYPE("\2") AT_0), "blocks" },
    { B(K U32), B(W TYPE("\1") NE("\4") TYPE("\44") AT_0), "type 36" },
    { B(K U32), B(W TYPE("\1") NE("\4") "\0\0\0\200" AT_0), "type 2147483648" },
};

START_TEST(a_file_of_one_value_and_one_tensor_is_judged)
{
    unsigned char bytes[300] = "GGUF\3\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0";
    const size_t value_end = 24 + file_of[_i].value_bytes, info_end = value_end + file_of[_i].info_bytes;
    const size_t size = (info_end + 31) / 32 * 32 + 32;
    clpeft_file *file = NULL;
    memcpy(bytes + 24, file_of[_i].value, file_of[_i].value_bytes);
    memcpy(bytes + value_end, file_of[_i].info, file_of[_i].info_bytes);
    if (file_of[_i].refusal) {
        ck_fails(CLPEFT_INVALID_FILE, file_of[_i].refusal, clp_file_parse(&file, bytes, size, CLPEFT_GGUF));
        return;
    }
    ck_ok(clp_file_parse(&file, bytes, size, CLPEFT_GGUF));
    walk(file);
    clpeft_file_close(file);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, a_gguf_file_hands_out_every_type_of_value);
    tcase_add_loop_test(t, a_file_of_one_value_and_one_tensor_is_judged, 0, sizeof file_of / sizeof *file_of);
}

int main(void)
{
    return run_tests("gguf", add, 60, NULL, NULL);
}

/* tensor-file FILE... - judge tensor files: prints "FILE: accept" or "FILE: reject: REASON" for each. A name that ends in
 * .safetensors or .gguf asks for that format. Exit status 0: all were judged; 1: a file could not be read; 2: no file. */
#include "clpeft.h"

#include <stdio.h>
#include <string.h>

static int ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

/* Reasons of the library start with the path. */
static void reject(const char *path, const char *reason)
{
    const size_t n = strlen(path);
    const int prefixed = strncmp(reason, path, n) == 0 && strncmp(reason + n, ": ", 2) == 0;
    printf("%s: reject: %s\n", path, prefixed ? reason + n + 2 : reason);
}

static int judge(const char *path)
{
    clpeft_file *file = NULL;
    const clpeft_status status = clpeft_file_open(&file, path);

    if (status == CLPEFT_INVALID_FILE) {
        reject(path, clpeft_error_message());
    } else if (status != CLPEFT_OK) {
        fprintf(stderr, "tensor-file: %s\n", clpeft_error_message());
        return 1;
    } else if (ends_in(path, ".safetensors") && clpeft_file_format(file) != CLPEFT_SAFETENSORS) {
        reject(path, "a GGUF file, not safetensors");
    } else if (ends_in(path, ".gguf") && clpeft_file_format(file) != CLPEFT_GGUF) {
        reject(path, "a safetensors file, not GGUF");
    } else {
        printf("%s: accept\n", path);
    }
    clpeft_file_close(file);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: tensor-file FILE...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) failed |= judge(argv[i]);
    return failed;
}

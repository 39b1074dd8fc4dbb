#include "clpeft_info.h"

#include "trainer/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- text of files ---- */

enum { LONGEST = 1000 };

/* A text of the file, in one line and without what a terminal would obey. */
static void print_text(const char *text, size_t bytes)
{
    const size_t n = bytes < LONGEST ? bytes : LONGEST;

    for (size_t i = 0; i < n; i++) putchar(text[i] < ' ' || text[i] > '~' ? '?' : text[i]);
    if (n < bytes) printf("... (%zu bytes)", bytes);
}

static void print_value(const clpeft_file *file, const clpeft_meta *meta)
{
    enum { FIRST = 5 };
    clpeft_meta item;

    switch (meta->type) {
    case CLPEFT_META_STRING: print_text(meta->string, meta->string_bytes); break;
    case CLPEFT_META_BOOL: fputs(meta->integer ? "true" : "false", stdout); break;
    case CLPEFT_META_INT: printf("%" PRId64, meta->integer); break;
    case CLPEFT_META_FLOAT: printf("%g", meta->number); break;
    case CLPEFT_META_ARRAY:
        putchar('[');
        for (uint64_t i = 0; i < FIRST && clpeft_file_meta_item(file, meta, i, &item); i++) {
            if (i > 0) fputs(", ", stdout);
            print_value(file, &item);
        }
        if (meta->count > FIRST) printf(", ... (%" PRIu64 " values)", meta->count);
        putchar(']');
        break;
    }
}

/* ---- a tensor file ---- */

static void print_tensor(const clpeft_file_tensor *t)
{
    printf("  %-5s ", t->dtype_name);
    print_text(t->name, strlen(t->name));
    fputs(" [", stdout);
    for (size_t i = 0; i < t->n_dims; i++) printf(i > 0 ? ",%" PRIu64 : "%" PRIu64, t->dims[i]);
    puts("]");
}

static void print_file(const char *path)
{
    uint64_t elements = 0, bytes = 0;
    clpeft_file *file;

    must(clpeft_file_open(&file, path));
    const size_t n = clpeft_file_tensors(file);
    for (size_t i = 0; i < n; i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(file, i);
        elements += t->elements, bytes += t->bytes;
    }
    note("%s: %s, %zu tensors of %" PRIu64 " elements, %.1f MB", path,
         clpeft_file_format(file) == CLPEFT_GGUF ? "GGUF" : "safetensors", n, elements, 1e-6 * (double)bytes);
    for (size_t i = 0; i < clpeft_file_metas(file); i++) {
        const clpeft_meta *meta = clpeft_file_meta_at(file, i);
        fputs("  ", stdout);
        print_text(meta->key, strlen(meta->key));
        fputs(" = ", stdout);
        print_value(file, meta);
        putchar('\n');
    }
    for (size_t i = 0; i < n; i++) print_tensor(clpeft_file_tensor_at(file, i));
    clpeft_file_close(file);
}

/* ---- a folder ---- */

/* A config, value by value. */
static void print_json(const char *path)
{
    json_error_t error;
    json_t *config = json_load_file(path, JSON_REJECT_DUPLICATES, &error), *value;
    const char *key;

    if (!json_is_object(config)) die("%s: %s", path, config ? "not a JSON object" : error.text);
    note("%s:", path);
    json_object_foreach(config, key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
        if (!text) die("no memory for %s", path);
        fputs("  ", stdout);
        print_text(key, strlen(key));
        fputs(" = ", stdout);
        print_text(text, strlen(text));
        putchar('\n');
        free(text);
    }
    json_decref(config);
}

static bool join_if_there(char path[PATH_SIZE], const char *folder, const char *name)
{
    path_join(path, folder, name);
    return access(path, F_OK) == 0;
}

static void print_folder(const char *folder)
{
    static const char *const files[][2] = {
        { "adapter_config.json", "adapter_model.safetensors" },
        { NULL, CHECKPOINT_LAST },
        { "config.json", "model.safetensors" },
    };
    char config[PATH_SIZE], path[PATH_SIZE];

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const bool has_config = files[i][0] && join_if_there(config, folder, files[i][0]);
        if (!join_if_there(path, folder, files[i][1]) && !has_config) continue;
        if (has_config) print_json(config);
        print_file(path);
        return;
    }
    die("%s: neither a checkpoint, nor a PEFT adapter, nor a model", folder);
}

void print_info(const char *path)
{
    struct stat info;

    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        print_folder(path);
    else
        print_file(path);
}

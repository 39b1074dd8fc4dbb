#include "tokenizer.h"

#include <jansson.h>
#include <unistd.h>

#include "program.h"

static bool is_lower(const char *folder)
{
    char path[PATH_SIZE];
    json_error_t error;

    path_join(path, folder, "tokenizer_config.json");
    if (access(path, F_OK) != 0) return true;
    json_t *config = json_load_file(path, 0, &error);
    if (!config) die("%s line %d: %s", path, error.line, error.text);
    const bool lower = !json_is_false(json_object_get(config, "do_lower_case"));
    json_decref(config);
    return lower;
}

wordpiece *tokenizer_open(const char *folder)
{
    char path[PATH_SIZE], error[512];
    wordpiece *tokenizer;

    path_join(path, folder, "vocab.txt");
    if (!wordpiece_create(&tokenizer, path, is_lower(folder), error, sizeof error)) die("%s", error);
    return tokenizer;
}

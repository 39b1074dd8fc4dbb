#include "checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *made; /* the folder, if it was not there before */

static void remove_if_empty(void)
{
    rmdir(made);
}

void checkpoint_find(char path[PATH_SIZE], const char *folder_or_file)
{
    struct stat status;

    if (stat(folder_or_file, &status) != 0) die("%s: %s", folder_or_file, strerror(errno));
    if (S_ISDIR(status.st_mode))
        path_join(path, folder_or_file, CHECKPOINT_LAST);
    else if (snprintf(path, PATH_SIZE, "%s", folder_or_file) >= PATH_SIZE)
        die("%.100s...: %s", folder_or_file, strerror(ENAMETOOLONG));
    if (access(path, R_OK) != 0) die("%s: %s", path, strerror(errno));
}

char *checkpoint_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));

    if (!folder) die("no memory for a path");
    return folder;
}

const json_t *checkpoint_state(const char *path)
{
    static json_t *state;
    clpeft_file *file;
    json_error_t error;

    must(clpeft_file_open(&file, path));
    const clpeft_meta *meta = clpeft_file_meta_find(file, program_name());
    if (!meta || meta->type != CLPEFT_META_STRING) die("%s: not a checkpoint of %s", path, program_name());
    state = json_loadb(meta->string, meta->string_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(state)) die("%s: its state is damaged: %s", path, state ? "no object" : error.text);
    clpeft_file_close(file);
    return state;
}

json_t *checkpoint_member(const json_t *state, const char *key, json_type type, const char *path)
{
    json_t *value = json_object_get(state, key);
    if (!value || json_typeof(value) != type)
        die("%s: its state is damaged: %s is missing or of a wrong type", path, key);
    return value;
}

void checkpoint_folder(const char *folder)
{
    struct stat status;

    if (mkdir(folder, 0777) == 0) {
        made = folder;
        atexit(remove_if_empty);
        return;
    }
    if (errno != EEXIST) die("%s: %s", folder, strerror(errno));
    if (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode)) die("%s: %s", folder, strerror(ENOTDIR));
}

void checkpoint_save(const clpeft_trainer *trainer, const json_t *state, const char *folder, const char *file)
{
    char path[PATH_SIZE];
    char *text = json_dumps(state, JSON_COMPACT);

    if (!text) die("no memory for the state of the training");
    path_join(path, folder, file);
    const clpeft_write_meta extra = { program_name(), text };
    must(clpeft_trainer_save(trainer, path, &extra, 1));
    free(text);
}

/* config.c - JSON objects of configuration files: read, and their values checked one by one. */
#include "config.h"

#include "file/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MAX_BYTES = 16 << 20; /* of a configuration file */

/* All bytes of a regular file. */
static clpeft_status read_bytes(const char *path, char **bytes, size_t *size)
{
    clpeft_status status = CLPEFT_OK;
    char *buffer = NULL;
    struct stat info;
    size_t n = 0;
    ssize_t got = 1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* do not wait for the writer of a named pipe */

    REQUIRE(fd >= 0, CLPEFT_FILE_ERROR, "%s", strerror(errno));
    REQUIRE(fstat(fd, &info) == 0, CLPEFT_FILE_ERROR, "%s", strerror(errno));
    REQUIRE(S_ISREG(info.st_mode), CLPEFT_FILE_ERROR, "not a regular file");
    REQUIRE((uint64_t)info.st_size <= MAX_BYTES, CLPEFT_INVALID_FILE, "%lld bytes: at most %zu are read",
            (long long)info.st_size, MAX_BYTES);
    buffer = malloc((size_t)info.st_size + 1);
    REQUIRE(buffer, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    while (n < (size_t)info.st_size && got > 0) {
        got = read(fd, buffer + n, (size_t)info.st_size - n);
        REQUIRE(got >= 0, CLPEFT_FILE_ERROR, "%s", strerror(errno));
        n += (size_t)got;
    }
    *bytes = buffer, *size = n;
    buffer = NULL;
out:
    free(buffer);
    if (fd >= 0) close(fd);
    return status;
}

clpeft_status clp_config_parse(json_t **config, const char *text, size_t size)
{
    clpeft_status status = CLPEFT_OK;
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);

    REQUIRE(root, CLPEFT_INVALID_FILE, "not JSON in line %d: %s", error.line,
            clp_quote(error.text, strlen(error.text)).text);
    REQUIRE(json_is_object(root), CLPEFT_INVALID_FILE, "not a JSON object");
    *config = root;
    root = NULL;
out:
    json_decref(root);
    return status;
}

clpeft_status clp_config_read(json_t **config, const char *path)
{
    clpeft_status status = CLPEFT_OK;
    char *text = NULL;
    size_t size = 0;

    TRY(read_bytes(path, &text, &size));
    TRY(clp_config_parse(config, text, size));
out:
    free(text);
    if (status != CLPEFT_OK) clp_fail_in("%s", path);
    return status;
}

/* The value of a key, NULL when it is missing or null. */
static const json_t *value_of(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);
    return json_is_null(value) ? NULL : value;
}

clpeft_status clp_config_size(const json_t *config, const char *key, size_t fallback, size_t least, size_t most,
                              size_t *value)
{
    const json_t *found = value_of(config, key);

    if (!found && fallback != CLP_REQUIRED) {
        *value = fallback;
        return CLPEFT_OK;
    }
    if (!found) return clp_fail(CLPEFT_INVALID_FILE, "%s is missing", key);
    if (!json_is_integer(found) || json_integer_value(found) < 0)
        return clp_fail(CLPEFT_INVALID_FILE, "%s is not a whole number of 0 or more", key);
    *value = (size_t)json_integer_value(found);
    if (*value < least || *value > most)
        return clp_fail(CLPEFT_INVALID_FILE, "%s is %zu, not in %zu to %zu", key, *value, least, most);
    return CLPEFT_OK;
}

clpeft_status clp_config_number(const json_t *config, const char *key, double fallback, double *value)
{
    const json_t *found = value_of(config, key);

    if (found && !json_is_number(found)) return clp_fail(CLPEFT_INVALID_FILE, "%s is not a number", key);
    *value = found ? json_number_value(found) : fallback;
    return CLPEFT_OK;
}

clpeft_status clp_config_flag(const json_t *config, const char *key, int fallback, int *value)
{
    const json_t *found = value_of(config, key);

    if (found && !json_is_boolean(found)) return clp_fail(CLPEFT_INVALID_FILE, "%s is neither true nor false", key);
    *value = found ? json_is_true(found) : fallback;
    return CLPEFT_OK;
}

clpeft_status clp_config_text(const json_t *config, const char *key, const char *fallback, const char **value)
{
    const json_t *found = value_of(config, key);

    if (found && !json_is_string(found)) return clp_fail(CLPEFT_INVALID_FILE, "%s is not a string", key);
    if (!found && !fallback) return clp_fail(CLPEFT_INVALID_FILE, "%s is missing", key);
    *value = found ? json_string_value(found) : fallback;
    return CLPEFT_OK;
}

clpeft_status clp_config_activation(const json_t *config, const char *key, clpeft_activation *act)
{
    static const struct {
        const char *name;
        clpeft_activation act;
    } known[] = {
        { "gelu", CLPEFT_GELU }, { "gelu_new", CLPEFT_GELU_TANH }, { "gelu_pytorch_tanh", CLPEFT_GELU_TANH },
        { "relu", CLPEFT_RELU }, { "silu", CLPEFT_SILU },
    };
    clpeft_status status = CLPEFT_OK;
    const char *name;

    TRY(clp_config_text(config, key, "gelu", &name));
    for (size_t i = 0; i < LENGTH(known); i++)
        if (strcmp(known[i].name, name) == 0) {
            *act = known[i].act;
            return CLPEFT_OK;
        }
    status = clp_fail(CLPEFT_UNSUPPORTED, "%s \"%s\": known are gelu, gelu_new, gelu_pytorch_tanh, relu and silu", key,
                      clp_quote(name, strlen(name)).text);
out:
    return status;
}

/* tensors.c - the tensors of adapter_model.safetensors. */
#include "peft/tensors.h"

#include "file/names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The older form of the file is Python code in effect: it is not read, but named where it is what there is. */
static clpeft_status check_pickle(const char *path, const char *folder, size_t size, char *pickle)
{
    snprintf(pickle, size, "%s/adapter_model.bin", folder);
    if (access(path, F_OK) == 0 || access(pickle, F_OK) != 0) return CLPEFT_OK;
    return clp_fail(CLPEFT_UNSUPPORTED, "%s: a pickle, which is not read; save the adapter as safetensors", pickle);
}

clpeft_status clp_tensors_open(clp_tensors *tensors, const char *folder)
{
    const size_t size = strlen(folder) + sizeof "/adapter_model.safetensors";
    clpeft_status status = CLPEFT_OK;
    char *path = malloc(2 * size);

    REQUIRE(path, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    snprintf(path, size, "%s/adapter_model.safetensors", folder);
    TRY(check_pickle(path, folder, size, path + size));
    TRY(clpeft_file_open(&tensors->file, path));
    REQUIRE(clpeft_file_format(tensors->file) == CLPEFT_SAFETENSORS, CLPEFT_INVALID_FILE, "%s: a GGUF file", path);
    tensors->used = calloc(clpeft_file_tensors(tensors->file) + 1, 1);
    REQUIRE(tensors->used, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
out:
    free(path);
    return status;
}

void clp_tensors_close(clp_tensors *tensors)
{
    clpeft_file_close(tensors->file);
    free(tensors->used);
    *tensors = (clp_tensors){ 0 };
}

const clpeft_file_tensor *clp_tensors_take(clp_tensors *tensors, const char *key)
{
    const clpeft_file_tensor *t = clpeft_file_find(tensors->file, key);
    if (t) tensors->used[t - clpeft_file_tensor_at(tensors->file, 0)] = 1;
    return t;
}

static const char *guess(const char *name)
{
    static const struct {
        const char *part, *what;
    } known[] = {
        { "lora_embedding_", "an adapter of an embedding" },
        { "lora_bias", "a bias of B" },
        { "lora_B.bias", "a bias of B" },
        { "lora_", "an adapter of a layer that the model does not have, or not as one that can be adapted" },
        { "classifier.", "a head of another form than one linear layer with a bias" },
        { "score.", "a second head" },
    };
    if (strncmp(name, "base_model.model.", 17) != 0) return "a name without base_model.model. before it";
    for (size_t i = 0; i < LENGTH(known); i++)
        if (strstr(name, known[i].part)) return known[i].what;
    return "a trained copy of a module, or something else than an adapter";
}

clpeft_status clp_tensors_check_rest(const clp_tensors *tensors)
{
    for (size_t i = 0; i < clpeft_file_tensors(tensors->file); i++) {
        const char *name = clpeft_file_tensor_at(tensors->file, i)->name;
        if (!tensors->used[i])
            return clp_fail(CLPEFT_UNSUPPORTED, "tensor \"%s\" has no place: %s", clp_quote(name, strlen(name)).text,
                            guess(name));
    }
    return CLPEFT_OK;
}

static clpeft_status check_shape(const clpeft_file_tensor *t, size_t rows, size_t cols)
{
    char there[100] = "", wanted[50];

    if (t->n_dims == (cols ? 2 : 1) && t->dims[0] == rows && (cols == 0 || t->dims[1] == cols)) return CLPEFT_OK;
    for (size_t i = 0, used = 0; i < t->n_dims && used < sizeof there; i++)
        used +=
            (size_t)snprintf(there + used, sizeof there - used, i ? ",%llu" : "%llu", (unsigned long long)t->dims[i]);
    if (cols)
        snprintf(wanted, sizeof wanted, "%zu,%zu", rows, cols);
    else
        snprintf(wanted, sizeof wanted, "%zu", rows);
    return clp_fail(CLPEFT_INVALID_FILE, "tensor %s is [%s], not [%s]", t->name, there, wanted);
}

clpeft_status clp_tensor_values(const clpeft_file_tensor *tensor, size_t rows, size_t cols, float **values)
{
    clpeft_status status = CLPEFT_OK;
    float *x = NULL;

    TRY(check_shape(tensor, rows, cols));
    const size_t n = rows * (cols ? cols : 1);
    x = malloc(n * sizeof *x);
    REQUIRE(x, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory for %s", tensor->name);
    TRY(clpeft_file_read_f32(tensor, 0, n, x));
    for (size_t i = 0; i < n; i++)
        REQUIRE(isfinite(x[i]), CLPEFT_INVALID_FILE, "tensor %s: value %zu is %g", tensor->name, i, (double)x[i]);
    *values = x;
    x = NULL;
out:
    free(x);
    return status;
}

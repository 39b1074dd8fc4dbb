/* write.c - what both writers ask of the tensors they are given. */
#include "file/write.h"

#include "file/names.h"
#include "status.h"

#include <stdlib.h>

static clpeft_status check(const clpeft_write_tensor *t, clp_writable *w)
{
    clpeft_status status = CLPEFT_OK;
    uint64_t elements = 1, bits = 0;

    w->tensor = t;
    w->type = clp_type_by_dtype(t->dtype);
    if (t->dtype == CLPEFT_OTHER && t->dtype_name) w->type = clp_type_by_name(t->dtype_name, strlen(t->dtype_name));
    REQUIRE(w->type, CLPEFT_INVALID_ARGUMENT, "unknown type");
    REQUIRE(t->n_dims <= LENGTH(t->dims), CLPEFT_INVALID_SIZE, "%zu dimensions", t->n_dims);
    for (size_t i = 0; i < t->n_dims; i++)
        REQUIRE(t->dims[i] <= INT64_MAX && !clp_mul(elements, t->dims[i], &elements) && elements <= INT64_MAX,
                CLPEFT_INVALID_SIZE, "the number of elements overflows at dimension %zu", i);
    REQUIRE((t->n_dims > 0 ? t->dims[t->n_dims - 1] : 1) % w->type->block == 0, CLPEFT_INVALID_SIZE,
            "rows are no whole blocks of %u, the block of %s", w->type->block, w->type->name);
    REQUIRE(!clp_mul(elements / w->type->block, (uint64_t)w->type->bits, &bits) && bits % 8 == 0 &&
                bits / 8 <= SIZE_MAX,
            CLPEFT_INVALID_SIZE, "%llu elements of %s are no size", (unsigned long long)elements, w->type->name);
    w->bytes = bits / 8;
    REQUIRE(t->data || w->bytes == 0, CLPEFT_INVALID_ARGUMENT, "data is NULL");
out:
    return status;
}

clpeft_status clp_writable_create(clp_writable **out, const clpeft_write_tensor *tensors, size_t n)
{
    clpeft_status status = CLPEFT_OK;
    clp_writable *list = calloc(n + 1, sizeof *list);
    clp_name *names = calloc(n + 1, sizeof *names);
    const clp_name *twice;

    REQUIRE(list && names, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory for %zu tensors", n);
    REQUIRE(tensors || n == 0, CLPEFT_INVALID_ARGUMENT, "tensors is NULL");
    for (size_t i = 0; i < n; i++) {
        REQUIRE(tensors[i].name, CLPEFT_INVALID_ARGUMENT, "tensor %zu: name is NULL", i);
        names[i] = (clp_name){ tensors[i].name, strlen(tensors[i].name), i };
        status = check(&tensors[i], &list[i]);
        if (status != CLPEFT_OK) clp_fail_in("tensor \"%s\"", clp_quote(names[i].text, names[i].bytes).text);
        TRY(status);
    }
    twice = clp_names_sort(names, n);
    REQUIRE(!twice, CLPEFT_INVALID_ARGUMENT, "tensor \"%s\" is given twice", clp_quote(twice->text, twice->bytes).text);
    *out = list;
    list = NULL;
out:
    free(list);
    free(names);
    return status;
}

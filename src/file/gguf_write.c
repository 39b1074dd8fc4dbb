/* gguf_write.c - write a GGUF file, version 3. The layout stands in gguf.c. */
#include "file/atomic.h"
#include "file/gguf.h"
#include "file/write.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

/* The header, in memory until it is whole. After a failed put it stays as it is and failed is set. */
typedef struct {
    unsigned char *bytes;
    size_t size, room;
    int failed;
} header;

static void put(header *h, const void *bytes, size_t n)
{
    if (h->failed || n == 0) return;
    if (n > h->room - h->size) {
        const size_t room = n > SIZE_MAX / 2 - h->size ? 0 : 2 * (h->size + n);
        unsigned char *grown = room ? realloc(h->bytes, room) : NULL;
        h->failed = !grown;
        if (!grown) return;
        h->bytes = grown;
        h->room = room;
    }
    memcpy(h->bytes + h->size, bytes, n);
    h->size += n;
}

static void put_u32(header *h, uint32_t value)
{
    put(h, &value, sizeof value);
}

static void put_u64(header *h, uint64_t value)
{
    put(h, &value, sizeof value);
}

static void put_string(header *h, const char *text)
{
    put_u64(h, strlen(text));
    put(h, text, strlen(text));
}

static uint64_t padding(uint64_t bytes, uint64_t align)
{
    return (align - bytes % align) % align;
}

static clpeft_status put_meta(header *h, const clpeft_gguf_meta *meta)
{
    clpeft_status status = CLPEFT_OK;
    const uint8_t truth = meta->u32 != 0;
    const clpeft_meta *source = NULL;
    const clp_gguf_value *value;

    if (meta->type == CLPEFT_GGUF_COPY) {
        REQUIRE(meta->copy && meta->copy->format == CLPEFT_GGUF, CLPEFT_INVALID_ARGUMENT, "no GGUF file to copy from");
        source = clpeft_file_meta_find(meta->copy, meta->key);
        REQUIRE(source, CLPEFT_INVALID_ARGUMENT, "the file to copy from lacks it");
        value = &meta->copy->values[source - meta->copy->metas];
        put(h, value->start, value->bytes);
        goto out;
    }
    put_string(h, meta->key);
    switch (meta->type) {
    case CLPEFT_GGUF_STRING:
        REQUIRE(meta->string, CLPEFT_INVALID_ARGUMENT, "string is NULL");
        put_u32(h, CLP_GGUF_STRING);
        put_string(h, meta->string);
        break;
    case CLPEFT_GGUF_F32:
        put_u32(h, CLP_GGUF_F32);
        put(h, &meta->f32, sizeof meta->f32);
        break;
    case CLPEFT_GGUF_U32:
        put_u32(h, CLP_GGUF_U32);
        put_u32(h, meta->u32);
        break;
    case CLPEFT_GGUF_BOOL:
        put_u32(h, CLP_GGUF_BOOL);
        put(h, &truth, 1);
        break;
    default: status = clp_fail(CLPEFT_INVALID_ARGUMENT, "unknown type %d", (int)meta->type);
    }
out:
    return status;
}

static clpeft_status put_metas(header *h, const clpeft_gguf_meta *metas, size_t n)
{
    clpeft_status status = CLPEFT_OK;
    clp_name *names = calloc(n + 1, sizeof *names);
    const clp_name *twice;

    REQUIRE(names, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory for %zu values", n);
    for (size_t i = 0; i < n; i++) {
        REQUIRE(metas[i].key && metas[i].key[0], CLPEFT_INVALID_ARGUMENT, "value %zu: key is NULL or empty", i);
        names[i] = (clp_name){ metas[i].key, strlen(metas[i].key), i };
        status = put_meta(h, &metas[i]);
        if (status != CLPEFT_OK) clp_fail_in("key \"%s\"", clp_quote(names[i].text, names[i].bytes).text);
        TRY(status);
    }
    twice = clp_names_sort(names, n);
    REQUIRE(!twice, CLPEFT_INVALID_ARGUMENT, "key \"%s\" is given twice", clp_quote(twice->text, twice->bytes).text);
out:
    free(names);
    return status;
}

/* The alignment that a reader of metas will find. */
static clpeft_status find_alignment(const clpeft_gguf_meta *metas, size_t n, uint64_t *align)
{
    clpeft_status status = CLPEFT_OK;

    *align = CLP_GGUF_ALIGNMENT;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(metas[i].key, "general.alignment") != 0) continue;
        if (metas[i].type == CLPEFT_GGUF_COPY) {
            *align = (uint64_t)clpeft_file_meta_find(metas[i].copy, metas[i].key)->integer;
            continue;
        }
        *align = metas[i].u32;
        REQUIRE(metas[i].type == CLPEFT_GGUF_U32 && *align > 0 && (*align & (*align - 1)) == 0, CLPEFT_INVALID_ARGUMENT,
                "general.alignment is no u32 or no power of two");
    }
out:
    return status;
}

static clpeft_status put_infos(header *h, const clp_writable *list, size_t n, uint64_t align)
{
    clpeft_status status = CLPEFT_OK;
    uint64_t offset = 0;

    for (size_t i = 0; i < n; i++) {
        const clpeft_write_tensor *t = list[i].tensor;
        REQUIRE(strlen(t->name) <= CLP_GGUF_MAX_NAME, CLPEFT_INVALID_ARGUMENT,
                "tensor \"%s\": a name of %zu bytes, at most %d", clp_quote(t->name, strlen(t->name)).text,
                strlen(t->name), CLP_GGUF_MAX_NAME);
        REQUIRE(list[i].type->ggml >= 0, CLPEFT_UNSUPPORTED, "tensor \"%s\": GGUF has no type %s",
                clp_quote(t->name, strlen(t->name)).text, list[i].type->name);
        put_string(h, t->name);
        put_u32(h, (uint32_t)t->n_dims);
        for (size_t k = t->n_dims; k-- > 0;) put_u64(h, t->dims[k]);
        put_u32(h, (uint32_t)list[i].type->ggml);
        put_u64(h, offset);
        REQUIRE(list[i].bytes <= INT64_MAX - offset - align, CLPEFT_INVALID_SIZE, "the sizes of the tensors overflow");
        offset += list[i].bytes + padding(list[i].bytes, align);
    }
out:
    return status;
}

static clpeft_status write_padding(clp_atomic *file, uint64_t bytes)
{
    static const unsigned char zeros[4096];
    clpeft_status status = CLPEFT_OK;
    for (; bytes > 0; bytes -= bytes < sizeof zeros ? bytes : sizeof zeros)
        TRY(clp_atomic_write(file, zeros, bytes < sizeof zeros ? (size_t)bytes : sizeof zeros));
out:
    return status;
}

clpeft_status clpeft_gguf_write(const char *path, const clpeft_gguf_meta *metas, size_t n_metas,
                                const clpeft_write_tensor *tensors, size_t n_tensors)
{
    clpeft_status status = CLPEFT_OK;
    clp_atomic file = CLP_ATOMIC_NONE;
    clp_writable *list = NULL;
    header h = { 0 };
    uint64_t align;

    REQUIRE(path && (metas || n_metas == 0), CLPEFT_INVALID_ARGUMENT, "clpeft_gguf_write: path or metas is NULL");
    TRY(clp_writable_create(&list, tensors, n_tensors));
    put(&h, "GGUF", 4);
    put_u32(&h, CLP_GGUF_VERSION);
    put_u64(&h, n_tensors);
    put_u64(&h, n_metas);
    TRY(put_metas(&h, metas, n_metas));
    TRY(find_alignment(metas, n_metas, &align));
    TRY(put_infos(&h, list, n_tensors, align));
    REQUIRE(!h.failed, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory for the header of %s", path);
    TRY(clp_atomic_begin(&file, path));
    TRY(clp_atomic_write(&file, h.bytes, h.size));
    if (n_tensors > 0) TRY(write_padding(&file, padding(h.size, align)));
    for (size_t i = 0; i < n_tensors; i++) {
        TRY(clp_atomic_write(&file, list[i].tensor->data, (size_t)list[i].bytes));
        TRY(write_padding(&file, padding(list[i].bytes, align)));
    }
    TRY(clp_atomic_commit(&file));
out:
    clp_atomic_end(&file);
    free(h.bytes);
    free(list);
    return status;
}

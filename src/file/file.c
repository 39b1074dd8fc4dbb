/* file.c - open a tensor file: map it, tell its format, check it. */
#include "file/file.h"

#include "file/gguf.h"
#include "file/safetensors.h"
#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

clpeft_status clp_file_parse(clpeft_file **out, const void *bytes, size_t size, clpeft_format format)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_file *file = clp_handle_create(sizeof *file, CLP_HANDLE_FILE);

    REQUIRE(file, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    file->format = format;
    file->bytes = bytes;
    file->size = size;
    TRY(format == CLPEFT_GGUF ? clp_gguf_parse(file) : clp_safetensors_parse(file));
    *out = file;
    file = NULL;
out:
    clp_file_free(file);
    return status;
}

static int ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

/* No safetensors file starts with "GGUF": the length of its header would be too large. */
static clpeft_status tell_format(const char *path, const unsigned char *bytes, size_t size, clpeft_format *format)
{
    if (size >= 4 && memcmp(bytes, "GGUF", 4) == 0) {
        *format = CLPEFT_GGUF;
    } else if ((size > 8 && bytes[8] == '{') || ends_in(path, ".safetensors")) {
        *format = CLPEFT_SAFETENSORS;
    } else if (ends_in(path, ".gguf")) {
        *format = CLPEFT_GGUF;
    } else {
        return clp_fail(CLPEFT_INVALID_FILE, "neither a safetensors nor a GGUF file");
    }
    return CLPEFT_OK;
}

/* Map a regular file. An empty one cannot be mapped: *bytes is "" then. */
static clpeft_status map_file(const char *path, const unsigned char **bytes, size_t *size)
{
    clpeft_status status = CLPEFT_OK;
    struct stat info;
    void *map = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* do not wait for the writer of a named pipe */

    REQUIRE(fd >= 0, CLPEFT_FILE_ERROR, "%s", strerror(errno));
    REQUIRE(fstat(fd, &info) == 0, CLPEFT_FILE_ERROR, "%s", strerror(errno));
    REQUIRE(S_ISREG(info.st_mode), CLPEFT_FILE_ERROR, "not a regular file");
    REQUIRE((uint64_t)info.st_size <= SIZE_MAX, CLPEFT_FILE_ERROR, "larger than the address space");
    *size = (size_t)info.st_size;
    *bytes = (const unsigned char *)"";
    if (*size == 0) goto out;
    map = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    REQUIRE(map != MAP_FAILED, CLPEFT_FILE_ERROR, "cannot map: %s", strerror(errno));
    *bytes = map;
out:
    if (fd >= 0) close(fd);
    return status;
}

clpeft_status clpeft_file_open(clpeft_file **out, const char *path)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_format format = CLPEFT_SAFETENSORS;
    const unsigned char *bytes = NULL;
    size_t size = 0;

    if (!out || !path) return clp_fail(CLPEFT_INVALID_ARGUMENT, "clpeft_file_open: file or path is NULL");
    TRY(map_file(path, &bytes, &size));
    TRY(tell_format(path, bytes, size, &format));
    TRY(clp_file_parse(out, bytes, size, format));
    (*out)->mapped = size > 0;
    return CLPEFT_OK;
out:
    if (bytes && size > 0) munmap((void *)bytes, size);
    clp_fail_in("%s", path);
    return status;
}

void clpeft_file_close(clpeft_file *file)
{
    if (!clp_is_live(file, CLP_HANDLE_FILE)) return;
    if (file->mapped) munmap((void *)file->bytes, file->size);
    clp_file_free(file);
}

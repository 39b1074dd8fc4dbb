/* safetensors.c - libFuzzer: any bytes as a safetensors file. */
#include "../walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    clpeft_file *file = NULL;
    if (clp_file_parse(&file, bytes, size, CLPEFT_SAFETENSORS) == CLPEFT_OK) walk(file);
    clpeft_file_close(file);
    return 0;
}

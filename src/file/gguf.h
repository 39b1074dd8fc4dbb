/* gguf.h - read the header of a GGUF file. */
#ifndef CLP_FILE_GGUF_H
#define CLP_FILE_GGUF_H

#include "file/store.h"

/* Numbers of value types, as far as reader and writer name them. */
enum { CLP_GGUF_U32 = 4, CLP_GGUF_F32 = 6, CLP_GGUF_BOOL = 7, CLP_GGUF_STRING = 8, CLP_GGUF_ARRAY = 9 };

enum { CLP_GGUF_VERSION = 3, CLP_GGUF_ALIGNMENT = 32, CLP_GGUF_MAX_NAME = 63, CLP_GGUF_MAX_DIMS = 4 };
#define CLP_GGUF_MAX_LENGTH ((uint64_t)1 << 30) /* bytes of a string, elements of an array */

/* Fill file from its bytes. After a failure the file is good for clp_file_free only. */
clpeft_status clp_gguf_parse(clpeft_file *file);

#endif

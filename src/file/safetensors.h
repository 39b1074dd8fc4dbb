/* safetensors.h - read the header of a safetensors file. */
#ifndef CLP_FILE_SAFETENSORS_H
#define CLP_FILE_SAFETENSORS_H

#include "file/store.h"

#define CLP_SAFETENSORS_MAX_HEADER 100000000 /* bytes */

/* Fill file from its bytes. After a failure the file is good for clp_file_free only. */
clpeft_status clp_safetensors_parse(clpeft_file *file);

#endif

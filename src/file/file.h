/* file.h - a tensor file in memory. */
#ifndef CLP_FILE_FILE_H
#define CLP_FILE_FILE_H

#include "file/store.h"

/* clpeft_file_open on bytes that are borrowed until clpeft_file_close. */
clpeft_status clp_file_parse(clpeft_file **file, const void *bytes, size_t size, clpeft_format format);

#endif

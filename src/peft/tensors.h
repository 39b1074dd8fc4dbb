/* tensors.h - the tensors of adapter_model.safetensors: each is used once, and none is left over. */
#ifndef CLP_PEFT_TENSORS_H
#define CLP_PEFT_TENSORS_H

#include "clpeft/file.h"
#include "peft/paths.h"

typedef struct {
    clpeft_file *file;
    char *used; /* of every tensor */
} clp_tensors;

/* Open adapter_model.safetensors of a folder. */
clpeft_status clp_tensors_open(clp_tensors *tensors, const char *folder);
void clp_tensors_close(clp_tensors *tensors);

/* NULL: there is none of this name. */
const clpeft_file_tensor *clp_tensors_take(clp_tensors *tensors, const char *key);
/* Refuse what was not taken, with a guess at what it is. */
clpeft_status clp_tensors_check_rest(const clp_tensors *tensors);

/* The values of a tensor [rows,cols], or with cols 0 [rows], all finite, in memory for free(). */
clpeft_status clp_tensor_values(const clpeft_file_tensor *tensor, size_t rows, size_t cols, float **values);

#endif

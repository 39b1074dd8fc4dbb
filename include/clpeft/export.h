/* export.h - an adapter leaves for good: as a llama.cpp adapter, or merged into the weights of its model's file. */
#ifndef CLPEFT_EXPORT_H
#define CLPEFT_EXPORT_H

#include "clpeft/file.h"
#include "clpeft/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* clpeft_gguf_export - write a LoRA or HoRA adapter as the GGUF file path, which llama.cpp loads beside the base
 * model. dtype is F32 or F16. The file has one alpha; sites with a rank or alpha of their own have the difference
 * in B. Rows of B of a LLaMA's query and key are written in the order of GGUF, where those of a rotary pair are
 * neighbours. Materializes the adapter (gradients in it are lost). Blocks; queue may be NULL.
 * Errors:  CLPEFT_UNSUPPORTED       an adapter with a magnitude (DoRA, DoRAN), which llama.cpp has no form for
 *          CLPEFT_INVALID_ARGUMENT  another dtype
 *          CLPEFT_NOT_FINITE        a value is not finite, or too large for F16
 *          CLPEFT_FILE_ERROR */
CLPEFT_API clpeft_status clpeft_gguf_export(clpeft_adapter *adapter, const clpeft_model *model, const char *path,
                                            clpeft_dtype dtype, cl_command_queue queue);

/* clpeft_merge_write - write the file path: a copy of the model's weights, in which adapted layers hold
 * g (W0 + s B A), in the model's format. base is what the model was loaded from, a folder or a GGUF file. What is not adapted is
 * copied as it is. dtype, of adapted layers: F32, F16, BF16, with GGUF also Q8_0; CLPEFT_OTHER: as in the base, but
 * F32 for F64 and Q8_0 for other block types. W0 is as the model keeps it: one loaded as F32 loses nothing.
 * Materializes the adapter. Blocks.
 * Errors:  CLPEFT_INVALID_FILE  base is not the model's file: a tensor is missing or of another shape
 *          CLPEFT_UNSUPPORTED   a dtype that the format lacks, or that nothing here writes
 *          CLPEFT_NOT_FINITE, CLPEFT_INVALID_SIZE (rows that are no whole blocks), CLPEFT_FILE_ERROR */
CLPEFT_API clpeft_status clpeft_merge_write(clpeft_adapter *adapter, const clpeft_model *model, const char *base,
                                            const char *path, clpeft_dtype dtype, cl_command_queue queue);

#ifdef __cplusplus
}
#endif
#endif

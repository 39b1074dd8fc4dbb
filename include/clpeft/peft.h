/* peft.h - adapters from and to the folders of Hugging Face PEFT: adapter_config.json and adapter_model.safetensors.
 *
 * What leaves is what PEFT knows: HoRA leaves as the LoRA that it computes, DoRAN as the DoRA with m' = m c / (c + tau).
 * Modules have the names of transformers 5, which renamed those of its vision transformers; the older ones are read too.
 * What comes in is LoRA or DoRA. To go on training where it stopped, keep the checkpoint of clpeft_trainer_save. */
#ifndef CLPEFT_PEFT_H
#define CLPEFT_PEFT_H

#include "clpeft/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- out -------------------------------------------------------------------------------------------------------- */

typedef struct {
    clpeft_dtype dtype;     /* F32, F16 or BF16 */
    const char *base_model; /* base_model_name_or_path, the model's id; NULL: null */
    /* NULL: of a BERT SEQ_CLS with a head, else FEATURE_EXTRACTION; of a LLaMA CAUSAL_LM; of a ViT null. "": null */
    const char *task_type;
    /* Of module paths, for the object that PEFT will wrap: "" a BertModel, "bert." a BertForSequenceClassification,
     * "model." a LlamaForCausalLM. With another one PEFT loads nothing and only warns. NULL: "" for
     * BERT and ViT, with a head "bert.", "vit." or "dinov2."; "model." for LLaMA. */
    const char *prefix;
    /* Not 0: the arena's head goes along as `classifier`, its weight times head_scale (a trainer's feature_scale).
     * The pooling before it is the reader's: the pooler of BertForSequenceClassification is not a trainer's. */
    float head_scale;
} clpeft_peft_options;

/* clpeft_peft_export - write an adapter as the PEFT folder path, which is made if it is not there. options NULL: all
 * zeros. The source's method goes into the tensors' metadata ("clpeft.method"). Ranks and alphas of single sites
 * become rank_pattern and alpha_pattern. Materializes the adapter (gradients in it are lost). Blocks; queue NULL: its own.
 * Errors:  CLPEFT_FILE_ERROR
 *          CLPEFT_INVALID_ARGUMENT  an unknown dtype, head_scale without a head in the arena
 *          CLPEFT_NOT_FINITE        a value is not finite, or too large for F16
 *          CLPEFT_UNSUPPORTED       a magnitude on a row of zeros, by whose norm PEFT divides; a head on a decoder */
CLPEFT_API clpeft_status clpeft_peft_export(clpeft_adapter *adapter, const clpeft_model *model, const char *path,
                                            const clpeft_peft_options *options, cl_command_queue queue);

/* ---- in --------------------------------------------------------------------------------------------------------- */

/* A PEFT folder, checked against a model (borrowed: must outlive it), in host memory. */
typedef struct clpeft_peft clpeft_peft;

typedef struct {
    clpeft_adapter_config adapter;      /* LoRA, or DoRA without tau */
    const char *sites;                  /* for clpeft_model_sites and a trainer's options; ranks and alphas too */
    size_t classes;                     /* labels of the head; 0: there is none */
    const char *task_type, *base_model; /* as the config has them; "" without */
} clpeft_peft_info;

/* clpeft_peft_open - read a folder, all of it, and refuse what cannot be represented: nothing is dropped.
 * Errors:  CLPEFT_FILE_ERROR    not found, ...; the pickle adapter_model.bin is never read
 *          CLPEFT_INVALID_FILE  not JSON, a field of a wrong type; a tensor missing, half a pair, of a wrong shape,
 *                               not finite, or unknown; ranks that contradict the config
 *          CLPEFT_UNSUPPORTED   a method or field that is not known here, a target that the model lacks: the message
 *                               names it */
CLPEFT_API clpeft_status clpeft_peft_open(clpeft_peft **peft, const clpeft_model *model, const char *path);
CLPEFT_API void clpeft_peft_close(clpeft_peft *peft);
CLPEFT_API void clpeft_peft_get_info(const clpeft_peft *peft, clpeft_peft_info *info); /* texts are borrowed */

/* clpeft_peft_load - write a folder's values into the parameters of an adapter made from its info and allocated, for
 * example by a trainer whose options have info's adapter, sites and classes. head_scale not 0: the head too, its weight
 * divided by head_scale. Moments stay as they are. Blocks; queue may be NULL.
 * Errors:  CLPEFT_INVALID_ARGUMENT  an adapter of another config or other sites; head_scale, but no head of this size */
CLPEFT_API clpeft_status clpeft_peft_load(const clpeft_peft *peft, clpeft_adapter *adapter, float head_scale,
                                          cl_command_queue queue);

#ifdef __cplusplus
}
#endif
#endif

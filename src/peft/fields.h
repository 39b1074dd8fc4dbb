/* fields.h - adapter_config.json: what it says of an adapter, and the fields that cannot be honoured refused. */
#ifndef CLP_PEFT_FIELDS_H
#define CLP_PEFT_FIELDS_H

#include "config.h"

/* Texts and JSON values are borrowed from json. */
typedef struct {
    json_t *json;
    size_t r;
    double alpha, dropout;
    int dora, rslora;
    const json_t *targets; /* list of strings; NULL: the tensors of the folder decide */
    int narrowed;          /* some of the targets may have been left out: exclude_modules, layers_to_transform */
    const json_t *rank_pattern, *alpha_pattern; /* objects: pattern -> number above 0, in the order of the file */
    const json_t *saved;                        /* modules_to_save: list of strings, or NULL */
    const char *task_type, *base_model;         /* "" without */
} clp_peft_config;

/* Errors:  CLPEFT_FILE_ERROR, CLPEFT_INVALID_FILE, CLPEFT_UNSUPPORTED; the message names the field. */
clpeft_status clp_peft_config_read(clp_peft_config *config, const char *path);
clpeft_status clp_peft_config_parse(clp_peft_config *config, const char *text, size_t size);
/* A number to write: whole, or with the fewest digits that are read as the same float. NULL: out of memory. */
json_t *clp_peft_number(float value);
void clp_peft_config_free(clp_peft_config *config);

#endif

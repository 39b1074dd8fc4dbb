/* paths.h - the linear layers of a model by their module paths in Hugging Face's naming. */
#ifndef CLP_PEFT_PATHS_H
#define CLP_PEFT_PATHS_H

#include "model.h"

enum { CLP_PATH_SIZE = 128, CLP_KEY_SIZE = 192 };

/* Before a path, by the object that PEFT wrapped. */
extern const char *const clp_prefixes[];
enum { CLP_PREFIXES = 6 };

/* Two namings: of the tensors in the model's file; and of the modules of the object that transformers makes of it, which PEFT
 * wraps. They differ for vision transformers since transformers 5. */
typedef enum { CLP_OBJECT, CLP_FILE, CLP_NAMINGS } clp_naming;

/* The path of module `module` in its block. */
const char *clp_path_in_block(const clpeft_model *model, size_t module, clp_naming naming);

/* Every site that the model can have, and its path with a prefix. By block, then module: site i is module i %
 * n_modules. */
typedef struct {
    size_t n;
    clpeft_site *sites;
    char **paths;
} clp_paths;

clpeft_status clp_paths_create(clp_paths *paths, const clpeft_model *model, clp_naming naming, const char *prefix);
void clp_paths_free(clp_paths *paths);

/* Whether an entry of target_modules selects a path: it is the path, or its end from a dot on. */
int clp_path_is_target(const char *path, const char *entry);

/* The tensors of an adapted layer. */
typedef enum { CLP_LORA_A, CLP_LORA_B, CLP_MAGNITUDE, CLP_MAGNITUDE_WEIGHT, CLP_PARTS } clp_part;
/* "base_model.model.PATH.lora_A.weight", ... Paths come from clp_paths: a key always fits. */
void clp_path_key(char key[CLP_KEY_SIZE], const char *path, clp_part part);

#endif

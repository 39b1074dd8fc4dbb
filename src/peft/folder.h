/* folder.h - a PEFT folder in memory. */
#ifndef CLP_PEFT_FOLDER_H
#define CLP_PEFT_FOLDER_H

#include "clpeft/peft.h"
#include "peft/fields.h"
#include "peft/paths.h"

/* An adapted layer: A [r,K], B [N,r], and with DoRA m [N]. */
typedef struct {
    clpeft_site site; /* rank and alpha are 0 where they are the config's */
    const char *path; /* borrowed from the folder's paths */
    size_t r, N, K;
    float *a, *b, *m;
} clp_peft_layer;

struct clpeft_peft {
    clp_peft_config config;
    clp_paths paths; /* with the prefix that the tensors' names have */
    size_t n;
    clp_peft_layer *layers; /* in the order of paths */
    size_t classes, width;
    float *weight, *bias; /* of the head, [classes,width] and [classes]; NULL without */
    char *sites;
};

#endif

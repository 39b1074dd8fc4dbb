/* config.h - JSON objects of configuration files: read, and their values checked one by one. */
#ifndef CLP_CONFIG_H
#define CLP_CONFIG_H

#include "clpeft/op.h"
#include "status.h"

#include <jansson.h>

/* Read an object from a file or from text; json_decref frees it. Messages from a file start with its path. */
clpeft_status clp_config_read(json_t **config, const char *path);
clpeft_status clp_config_parse(json_t **config, const char *text, size_t size);

/* The value of a key; a missing one or null is the fallback. Errors:  CLPEFT_INVALID_FILE  missing and CLP_REQUIRED, of another
 * type, out of range; the message names the key. */
#define CLP_REQUIRED SIZE_MAX
clpeft_status clp_config_size(const json_t *config, const char *key, size_t fallback, size_t least, size_t most,
                              size_t *value);
clpeft_status clp_config_number(const json_t *config, const char *key, double fallback, double *value);
clpeft_status clp_config_flag(const json_t *config, const char *key, int fallback, int *value);
/* Borrowed from config. fallback NULL: required. */
clpeft_status clp_config_text(const json_t *config, const char *key, const char *fallback, const char **value);
/* An activation by transformers' name. Without the key: gelu. */
clpeft_status clp_config_activation(const json_t *config, const char *key, clpeft_activation *act);

#endif

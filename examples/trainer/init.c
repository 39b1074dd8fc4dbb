#include "init.h"

#include "checkpoint.h"
#include "program.h"
#include "training.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool init_is_peft(const char *folder)
{
    char path[PATH_SIZE];

    path_join(path, folder, "adapter_config.json");
    return access(path, F_OK) == 0;
}

/* ---- settings ---- */

static const option_group adapter_options[] = { { "Adapter", training_adapter }, { 0 } };

static clpeft_method method_of(const clpeft_adapter_config *a)
{
    if (a->generator) return a->magnitude ? CLPEFT_DORAN : CLPEFT_HORA;
    return a->magnitude ? CLPEFT_DORA : CLPEFT_LORA;
}

/* Of the options given, all have the value that the adapter has. asked: their values as the command line has them. */
static void check_given(const json_t *asked)
{
    json_t *have = options_json(adapter_options, false);

    for (const option *o = training_adapter; o->name; o++) {
        const json_t *value = json_object_get(have, o->name);
        if (!o->given || json_equal(json_object_get(asked, o->name), value)) continue;
        const bool flag = o->type == OPTION_FLAG;
        die("--%s%s%s: the adapter in %s was made with %s%s", o->name, flag ? "" : " ", flag ? "" : o->given,
            training.init, json_is_string(value) ? json_string_value(value) : json_dumps(value, JSON_ENCODE_ANY),
            flag ? "" : ", which cannot change");
    }
    json_decref(have);
}

/* The settings become those of the adapter. Dropout and the gradient of the norm are a training's own. */
static void take_settings(const clpeft_adapter_config *config, const char *sites)
{
    static char *list; /* training.sites borrows it */
    const clpeft_adapter_config own = training.adapter;
    json_t *asked = options_json(adapter_options, false);

    free(list);
    list = strdup(sites);
    if (!list) die("no memory for the list of sites");
    training.method = method_of(config), training.adapter = *config, training.sites = list;
    if (options_given(adapter_options, "dropout")) training.adapter.dropout = own.dropout;
    if (options_given(adapter_options, "norm-gradient")) training.adapter.norm_gradient = own.norm_gradient;
    check_given(asked);
    json_decref(asked);
}

/* ---- from a PEFT folder ---- */

static clpeft_trainer *from_peft(clpeft_model *model, const label_list *labels, uint64_t total_steps)
{
    clpeft_peft *peft;
    clpeft_peft_info info;

    must(clpeft_peft_open(&peft, model, training.init));
    clpeft_peft_get_info(peft, &info);
    take_settings(&info.adapter, info.sites);
    clpeft_trainer *trainer = training_trainer(model, labels->n, total_steps);
    const bool head = info.classes > 0 && info.classes == labels->n;
    must(clpeft_peft_load(peft, clpeft_trainer_adapter(trainer), head ? training.feature_scale : 0,
                          clpeft_trainer_queue(trainer)));
    if (info.classes > 0 && !head)
        note("%s has a classifier of %zu classes: it stays there, and a new one is trained", training.init,
             info.classes);
    clpeft_peft_close(peft);
    return trainer;
}

/* ---- from a checkpoint ---- */

/* Whether a checkpoint, with options, has a head for these labels. */
static bool head_fits(const char *path, const clpeft_trainer_options *options, const label_list *labels)
{
    clpeft_file *file;

    if (options->classes != labels->n || options->pool != training.pool ||
        options->feature_scale != training.feature_scale)
        return false;
    must(clpeft_file_open(&file, path));
    const bool named = clpeft_file_meta_find(file, program_name()) != NULL;
    clpeft_file_close(file);
    if (!named) return true;
    const json_t *names = checkpoint_member(checkpoint_state(path), "labels", JSON_ARRAY, path);
    for (size_t i = 0; i < labels->n; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name || strcmp(name, labels->name[i]) != 0) return false;
    }
    return true;
}

static void copy_parameters(clpeft_trainer *to, const clpeft_trainer *from, bool head)
{
    clpeft_params *params = clpeft_trainer_params(to);
    const clpeft_params *source = clpeft_trainer_params(from);

    for (size_t i = 0; i < clpeft_params_count(source); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(source, i), *own = clpeft_params_find(params, t->name);
        if (!head && (t->kind == CLPEFT_KIND_HEAD || t->kind == CLPEFT_KIND_HEAD_BIAS)) continue;
        float *values = allocate(t->size, sizeof *values);
        must(clpeft_params_read(source, CLPEFT_THETA, t, values, clpeft_trainer_queue(from)));
        must(clpeft_params_write(params, CLPEFT_THETA, own, values, clpeft_trainer_queue(to)));
        free(values);
    }
}

static clpeft_trainer *from_checkpoint(clpeft_model *model, const label_list *labels, uint64_t total_steps)
{
    char path[PATH_SIZE];
    clpeft_trainer *source;

    checkpoint_find(path, training.init);
    must(clpeft_trainer_load(&source, model, path));
    const clpeft_trainer_options *options = clpeft_trainer_get_options(source);
    take_settings(&options->adapter, options->sites);
    const bool head = head_fits(path, options, labels);
    clpeft_trainer *trainer = training_trainer(model, labels->n, total_steps);
    copy_parameters(trainer, source, head);
    if (!head) note("%s was trained for other classes or pooling: a new classifier is trained", path);
    clpeft_trainer_destroy(source);
    return trainer;
}

clpeft_trainer *init_trainer(clpeft_model *model, const label_list *labels, uint64_t total_steps)
{
    return init_is_peft(training.init) ? from_peft(model, labels, total_steps)
                                       : from_checkpoint(model, labels, total_steps);
}

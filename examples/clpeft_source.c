#include "clpeft_source.h"

#include "trainer/checkpoint.h"
#include "trainer/init.h"
#include "trainer/training.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

clpeft_model *open_model(clpeft_context *ctx, const char *path)
{
    const clpeft_model_options options = { .max_tokens = 16,
                                           .max_sequences = 1,
                                           .image_size = training_patch_size(path) };
    clpeft_model *model;

    must(clpeft_model_load(&model, ctx, path, &options));
    return model;
}

/* Where the model of a checkpoint was; the caller frees it. */
static char *model_of(const char *checkpoint)
{
    clpeft_file *file;

    must(clpeft_file_open(&file, checkpoint));
    const clpeft_meta *meta = clpeft_file_meta_find(file, "model_path");
    if (!meta || meta->type != CLPEFT_META_STRING || !*meta->string)
        die("%s does not say where its model is: name it with --model", checkpoint);
    if (access(meta->string, F_OK) != 0)
        die("%s was trained on %s, which is not there: name the model with --model", checkpoint, meta->string);
    char *path = strdup(meta->string);
    if (!path) die("no memory for a path");
    clpeft_file_close(file);
    return path;
}

static void open_checkpoint(source *s, const char *checkpoint)
{
    must(clpeft_trainer_load(&s->trainer, s->model, checkpoint));
    s->adapter = clpeft_trainer_adapter(s->trainer);
    s->queue = clpeft_trainer_queue(s->trainer);
    clRetainCommandQueue(s->queue);
    const clpeft_trainer_options *options = clpeft_trainer_get_options(s->trainer);
    s->head_scale = options->task == CLPEFT_CLASSIFY ? options->feature_scale : 0;
}

static void open_peft(source *s, const char *folder)
{
    clpeft_peft *peft;
    clpeft_peft_info info;
    clpeft_site *sites;
    size_t n;

    must(clpeft_peft_open(&peft, s->model, folder));
    clpeft_peft_get_info(peft, &info);
    if (info.classes > 0) note("%s holds a classifier, which stays there", folder);
    must(clpeft_model_sites(s->model, info.sites, &sites, &n));
    must(clpeft_params_create(&s->params, s->ctx));
    must(clpeft_adapter_create(&s->adapter, s->params, sites, n, &info.adapter));
    must(clpeft_params_allocate(s->params));
    must(clpeft_queue_create(&s->queue, s->ctx));
    must(clpeft_peft_load(peft, s->adapter, 0, s->queue));
    clpeft_peft_close(peft);
    free(sites);
}

source source_open(const char *folder, const char *model, const char *device)
{
    const bool peft = init_is_peft(folder);
    char checkpoint[PATH_SIZE] = "";
    source s = { 0 };

    if (!peft) checkpoint_find(checkpoint, folder);
    if (peft && !model) die("%s is a PEFT folder: name its model with --model", folder);
    s.model_path = model ? strdup(model) : model_of(checkpoint);
    if (!s.model_path) die("no memory for a path");
    must(clpeft_context_create(&s.ctx, &(clpeft_context_options){ .select = device }));
    s.model = open_model(s.ctx, s.model_path);
    if (peft)
        open_peft(&s, folder);
    else
        open_checkpoint(&s, checkpoint);
    return s;
}

void source_close(source *s)
{
    if (s->trainer)
        clpeft_trainer_destroy(s->trainer);
    else
        clpeft_adapter_destroy(s->adapter);
    clpeft_params_destroy(s->params);
    clReleaseCommandQueue(s->queue);
    clpeft_model_destroy(s->model);
    clpeft_context_destroy(s->ctx);
    free(s->model_path);
}

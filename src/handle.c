/* handle.c - a hash table of the objects that are alive; chains, for they are few. */
#include "handle.h"

#include <stdlib.h>

static const struct {
    const char *type, *argument;
} kinds[] = {
    [CLP_HANDLE_CONTEXT] = { "context", "ctx" },     [CLP_HANDLE_WORKSPACE] = { "workspace", "ws" },
    [CLP_HANDLE_FILE] = { "file", "file" },          [CLP_HANDLE_LINEAR] = { "linear", "linear" },
    [CLP_HANDLE_PARAMS] = { "params", "params" },    [CLP_HANDLE_ADAPTER] = { "adapter", "adapter" },
    [CLP_HANDLE_MODEL] = { "model", "model" },       [CLP_HANDLE_CACHE] = { "model_cache", "cache" },
    [CLP_HANDLE_TRAINER] = { "trainer", "trainer" }, [CLP_HANDLE_PEFT] = { "peft", "peft" },
};

#ifdef NDEBUG

static int set_add(const void *object, clp_handle kind)
{
    (void)kind;
    return object != NULL;
}

int clp_handle_end(const void *object, clp_handle kind)
{
    (void)kind;
    return object != NULL;
}

int clp_is_live(const void *object, clp_handle kind)
{
    (void)kind;
    return object != NULL;
}

#else

#include <pthread.h>

typedef struct node {
    struct node *next;
    const void *object;
    clp_handle kind;
} node;

enum { CHAINS = 256 };
static node *chains[CHAINS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Where the object's node hangs, or the end of its chain. */
static node **find(const void *object, clp_handle kind)
{
    node **at = &chains[(uintptr_t)object / 16 % CHAINS];
    while (*at && ((*at)->object != object || (*at)->kind != kind)) at = &(*at)->next;
    return at;
}

static int set_add(const void *object, clp_handle kind)
{
    node *made = malloc(sizeof *made);

    if (!made) return 0;
    pthread_mutex_lock(&lock);
    node **at = find(object, kind);
    *made = (node){ *at, object, kind };
    *at = made;
    pthread_mutex_unlock(&lock);
    return 1;
}

int clp_handle_end(const void *object, clp_handle kind)
{
    pthread_mutex_lock(&lock);
    node **at = find(object, kind), *found = *at;
    if (found) *at = found->next;
    pthread_mutex_unlock(&lock);
    free(found);
    return found != NULL;
}

int clp_is_live(const void *object, clp_handle kind)
{
    pthread_mutex_lock(&lock);
    const int found = *find(object, kind) != NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

#endif

void *clp_handle_create(size_t bytes, clp_handle kind)
{
    void *object = calloc(1, bytes);

    if (object && set_add(object, kind)) return object;
    free(object);
    return NULL;
}

clpeft_status clp_live(const void *object, clp_handle kind, const char *what)
{
    if (clp_is_live(object, kind)) return CLPEFT_OK;
    if (!object) return clp_fail(CLPEFT_INVALID_ARGUMENT, "%s: %s is NULL", what, kinds[kind].argument);
    return clp_fail(CLPEFT_INVALID_ARGUMENT, "%s: %s is no live clpeft_%s: it was released, or never made", what,
                    kinds[kind].argument, kinds[kind].type);
}

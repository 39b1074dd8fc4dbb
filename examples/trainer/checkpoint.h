/* checkpoint.h - the folder of a training: its state in the metadata of the library's checkpoint files.
 *
 * The state is a JSON object of the program's own (settings, labels, step, ...), stored under the program's name beside the
 * library's configuration. It holds nothing that differs between a resumed and an uninterrupted run. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "clpeft.h"
#include "program.h"

#include <jansson.h>

#define CHECKPOINT_LAST "checkpoint.safetensors"
#define CHECKPOINT_BEST "best.safetensors"

/* The file meant by a folder or a file: what --resume and --adapter are given. Dies when there is none. */
void checkpoint_find(char path[PATH_SIZE], const char *folder_or_file);

/* The folder of a file; the caller frees it. */
char *checkpoint_folder_of(const char *path);

/* The state in a checkpoint; dies when the file is not one of this program. One per process, borrowed: it stays
 * until the program ends. */
const json_t *checkpoint_state(const char *path);

/* A member of a state; dies when it is missing or of another type. */
json_t *checkpoint_member(const json_t *state, const char *key, json_type type, const char *path);

/* Make the folder unless it is there; one that is made goes again at the end if it is still empty. folder must stay. */
void checkpoint_folder(const char *folder);

/* Save the trainer with the state, which stays the caller's, as a file of the folder. Dies when it cannot be written; what
 * was there before is then untouched. */
void checkpoint_save(const clpeft_trainer *trainer, const json_t *state, const char *folder, const char *file);

#endif

/* clpeft_info.h - what is in a safetensors or GGUF file, a checkpoint, a model's or a PEFT folder, as text. */
#ifndef CLPEFT_INFO_H
#define CLPEFT_INFO_H

/* Print it. Dies when the path is none of these. */
void print_info(const char *path);

#endif

/* interrupt.h - Ctrl-C (and SIGTERM) as a wish: the program ends its step, saves and leaves. The second one kills. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include <stdbool.h>

void interrupt_catch(void);
bool interrupt_seen(void);

#endif

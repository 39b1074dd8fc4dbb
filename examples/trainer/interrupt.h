/* interrupt.h - Ctrl-C (and SIGTERM) as a wish: the program ends its step, saves and leaves. The second one kills. SIGUSR2 is the
 * same wish: mpirun passes it on to all ranks, and leaves them their time. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include <stdbool.h>

void interrupt_catch(void);
bool interrupt_seen(void);
bool interrupt_ending(void); /* by Ctrl-C or SIGTERM: mpirun has sent the like to all ranks, and kills soon */

#endif

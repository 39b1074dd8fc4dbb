/* tune.h - choose the parameters of the tuned kernels. */
#ifndef CLP_TUNE_H
#define CLP_TUNE_H

#include "context.h"

/* Set ctx->tuning: from the tuning file of this device if there is one, else from device facts. */
void clp_tune_choose(clpeft_context *ctx);

#endif

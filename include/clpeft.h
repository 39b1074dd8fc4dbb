/* clpeft.h - fine-tune transformer models with low-rank adapters on any OpenCL device.
 *
 * This header includes all others; an application includes it and nothing else. */
#ifndef CLPEFT_H
#define CLPEFT_H

#include "clpeft/core.h"
#include "clpeft/op.h"
#include "clpeft/params.h"
#include "clpeft/linear.h"
#include "clpeft/adapter.h"
#include "clpeft/file.h"
#include "clpeft/model.h"
#include "clpeft/train.h"
#include "clpeft/peft.h"
#include "clpeft/export.h"
#include "clpeft/tune.h"

#endif

/* status.c - status -> text, and the calling thread's last failure. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[512];

clpeft_status clp_fail(clpeft_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return code;
}

void clp_fail_in(const char *format, ...)
{
    char detail[sizeof message];
    va_list args;
    memcpy(detail, message, sizeof detail);
    va_start(args, format);
    const int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    const int room = (int)sizeof message - n - 3;
    if (n >= 0 && room > 0) snprintf(message + n, (size_t)room + 3, ": %.*s", room, detail);
}

const char *clpeft_error_message(void)
{
    return message;
}

#define STRING_(x) #x
#define STRING(x)  STRING_(x)
const char *clpeft_version(void)
{
    return STRING(CLPEFT_VERSION_MAJOR) "." STRING(CLPEFT_VERSION_MINOR) "." STRING(CLPEFT_VERSION_PATCH);
}

/* clang-format off */
#define NAME(code) { code, #code }
/* clang-format on */
static const struct {
    clpeft_status code;
    const char *name;
} names[] = {
    NAME(CLPEFT_OK),
    NAME(CLPEFT_INVALID_ARGUMENT),
    NAME(CLPEFT_INVALID_SIZE),
    NAME(CLPEFT_INVALID_VIEW),
    NAME(CLPEFT_OUT_OF_HOST_MEMORY),
    NAME(CLPEFT_NO_DEVICE),
    NAME(CLPEFT_FILE_ERROR),
    NAME(CLPEFT_INVALID_FILE),
    NAME(CLPEFT_UNSUPPORTED),
    NAME(CLPEFT_NOT_FINITE),
    NAME(CLPEFT_INTERNAL),
    NAME(CL_DEVICE_NOT_FOUND),
    NAME(CL_DEVICE_NOT_AVAILABLE),
    NAME(CL_COMPILER_NOT_AVAILABLE),
    NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE),
    NAME(CL_OUT_OF_RESOURCES),
    NAME(CL_OUT_OF_HOST_MEMORY),
    NAME(CL_PROFILING_INFO_NOT_AVAILABLE),
    NAME(CL_MEM_COPY_OVERLAP),
    NAME(CL_BUILD_PROGRAM_FAILURE),
    NAME(CL_MAP_FAILURE),
    NAME(CL_MISALIGNED_SUB_BUFFER_OFFSET),
    NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST),
    NAME(CL_COMPILE_PROGRAM_FAILURE),
    NAME(CL_LINKER_NOT_AVAILABLE),
    NAME(CL_LINK_PROGRAM_FAILURE),
    NAME(CL_INVALID_VALUE),
    NAME(CL_INVALID_DEVICE_TYPE),
    NAME(CL_INVALID_PLATFORM),
    NAME(CL_INVALID_DEVICE),
    NAME(CL_INVALID_CONTEXT),
    NAME(CL_INVALID_QUEUE_PROPERTIES),
    NAME(CL_INVALID_COMMAND_QUEUE),
    NAME(CL_INVALID_HOST_PTR),
    NAME(CL_INVALID_MEM_OBJECT),
    NAME(CL_INVALID_BINARY),
    NAME(CL_INVALID_BUILD_OPTIONS),
    NAME(CL_INVALID_PROGRAM),
    NAME(CL_INVALID_PROGRAM_EXECUTABLE),
    NAME(CL_INVALID_KERNEL_NAME),
    NAME(CL_INVALID_KERNEL_DEFINITION),
    NAME(CL_INVALID_KERNEL),
    NAME(CL_INVALID_ARG_INDEX),
    NAME(CL_INVALID_ARG_VALUE),
    NAME(CL_INVALID_ARG_SIZE),
    NAME(CL_INVALID_KERNEL_ARGS),
    NAME(CL_INVALID_WORK_DIMENSION),
    NAME(CL_INVALID_WORK_GROUP_SIZE),
    NAME(CL_INVALID_WORK_ITEM_SIZE),
    NAME(CL_INVALID_GLOBAL_OFFSET),
    NAME(CL_INVALID_EVENT_WAIT_LIST),
    NAME(CL_INVALID_EVENT),
    NAME(CL_INVALID_OPERATION),
    NAME(CL_INVALID_BUFFER_SIZE),
    NAME(CL_INVALID_GLOBAL_WORK_SIZE),
    NAME(CL_INVALID_PROPERTY),
    NAME(CL_INVALID_DEVICE_PARTITION_COUNT),
};

const char *clpeft_status_text(clpeft_status status)
{
    for (size_t i = 0; i < LENGTH(names); i++)
        if (names[i].code == status) return names[i].name;
    return "unknown status";
}

#!/usr/bin/env python3
"""clpeft from Python through ctypes and numpy arrays, no binding to build: layer.py [LIBRARY]

One frozen layer learns a new target by a DoRA site; the merged weight comes back as an array. LIBRARY: libclpeft.so.0 by default."""
import ctypes as c
import sys

import numpy as np

lib = c.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libclpeft.so.0")
cl = c.CDLL("libOpenCL.so.1")
lib.clpeft_error_message.restype = c.c_char_p
for name in ("clpeft_linear_workspace", "clpeft_linear_tape"):
    getattr(lib, name).restype = c.c_size_t
lib.clpeft_context_cl.restype = c.c_void_p
cl.clCreateBuffer.restype = c.c_void_p


class View(c.Structure):
    _fields_ = [("buf", c.c_void_p), ("off", c.c_size_t), ("ld", c.c_size_t)]


class LinearOptions(c.Structure):
    _fields_ = [("N", c.c_size_t), ("K", c.c_size_t), ("dtype", c.c_int), ("has_bias", c.c_int), ("forward_only", c.c_int),
                ("one_copy", c.c_int), ("storage", View)]


class Site(c.Structure):
    _fields_ = [("name", c.c_char_p), ("block", c.c_size_t), ("linear", c.c_void_p), ("row", c.c_size_t), ("heads", c.c_size_t),
                ("head_size", c.c_size_t), ("rank", c.c_size_t), ("alpha", c.c_float)]


class Config(c.Structure):
    _fields_ = [("generator", c.c_int), ("magnitude", c.c_int), ("tau", c.c_int), ("rank", c.c_size_t), ("alpha", c.c_float),
                ("rslora", c.c_int), ("seed_width", c.c_size_t), ("hidden_width", c.c_size_t), ("act", c.c_int), ("share", c.c_int),
                ("w2b", c.c_int), ("tau0", c.c_float), ("norm_gradient", c.c_int), ("dropout", c.c_float), ("seed", c.c_uint64)]


class AdamW(c.Structure):
    _fields_ = [("lr", c.c_float), ("beta1", c.c_float), ("beta2", c.c_float), ("eps", c.c_float), ("weight_decay", c.c_float),
                ("max_norm", c.c_float), ("multiplier", c.c_float * 8)]


lib.clpeft_adapter_defaults.restype = Config
lib.clpeft_adamw_defaults.restype = AdamW
LORA, DORA, HORA, DORAN = range(4)


def call(name, *args):
    """A library function; its status becomes an exception. Plain ints are pointers and sizes."""
    args = [c.c_size_t(a) if isinstance(a, int) else c.c_float(a) if isinstance(a, float) else a for a in args]
    if getattr(lib, name)(*args):
        raise RuntimeError(f"{name}: {lib.clpeft_error_message().decode()}")


def make(name, *args):
    """An object from a _create function."""
    handle = c.c_void_p()
    call(name, c.byref(handle), *args)
    return handle


ctx = make("clpeft_context_create", None)
queue = make("clpeft_queue_create", ctx)
done = (queue, 0, None, None)  # the tail of every operation: queue, no events


class Buffer:
    """A device buffer that holds what a float32 array holds."""

    def __init__(self, shape):
        self.shape = shape
        size = int(np.prod(shape)) * 4
        self.mem = cl.clCreateBuffer(c.c_void_p(lib.clpeft_context_cl(ctx)), c.c_uint64(1), c.c_size_t(size), None, None)
        self.view = View(self.mem, 0, shape[-1] if len(shape) > 1 else 1)

    def move(self, function, array):
        assert array.flags["C_CONTIGUOUS"] and array.dtype == np.float32
        if function(queue, c.c_void_p(self.mem), 1, c.c_size_t(0), c.c_size_t(array.nbytes), array.ctypes.data_as(c.c_void_p), 0, None, None):
            raise RuntimeError("the transfer failed")
        return array

    def write(self, array):
        self.move(cl.clEnqueueWriteBuffer, array)

    def read(self):
        return self.move(cl.clEnqueueReadBuffer, np.empty(self.shape, np.float32))


T, K, N, none = 32, 24, 16, View()
random = np.random.default_rng(1)
weight = (0.2 * random.standard_normal((N, K))).astype(np.float32)
data = random.standard_normal((T, K)).astype(np.float32)
target = (0.5 * random.standard_normal((T, N))).astype(np.float32)

linear = make("clpeft_linear_create", ctx, c.byref(LinearOptions(N=N, K=K)))
call("clpeft_linear_load", linear, 0, N, weight.ctypes.data_as(c.c_void_p), c.c_int(0), None, queue)
params = make("clpeft_params_create", ctx)
site = Site(name=b"layer", linear=linear, heads=1, head_size=N)
config = lib.clpeft_adapter_defaults(c.c_int(DORA))
adapter = make("clpeft_adapter_create", params, c.byref(site), 1, c.byref(config))
call("clpeft_params_allocate", params)
workspace = make("clpeft_workspace_create", ctx, lib.clpeft_linear_workspace(linear, adapter, c.c_size_t(T)))
x, y, tape = Buffer((T, K)), Buffer((T, N)), Buffer((lib.clpeft_linear_tape(linear, adapter, c.c_size_t(T)),))
x.write(data)
adamw = lib.clpeft_adamw_defaults()
adamw.lr, adamw.max_norm = 0.02, 0.0

errors = []
for step in range(150):
    call("clpeft_adapter_materialize", adapter, step, c.c_int(1), *done)
    call("clpeft_params_zero_grad", params, *done)
    call("clpeft_linear_forward", linear, adapter, T, c.c_int(0), x.view, none, y.view, tape.view, workspace, *done)
    difference = y.read() - target  # loss = |y - target|^2 / 2
    errors.append(0.5 * float((difference**2).sum()))
    y.write(difference)
    call("clpeft_linear_backward", linear, adapter, T, c.c_int(0), x.view, tape.view, y.view, 0.0, none, workspace, *done)
    call("clpeft_adapter_backward", adapter, None, *done)
    call("clpeft_adamw_step", params, c.byref(adamw), *done)

merged = np.empty((N, K), np.float32)
call("clpeft_adapter_materialize", adapter, 150, c.c_int(0), *done)
call("clpeft_adapter_merge", adapter, linear, 0, N, merged.ctypes.data_as(c.c_void_p), queue)
last = 0.5 * float(((data @ merged.T - target) ** 2).sum())
print(f"squared error {errors[0]:.2f} -> {errors[-1]:.2f}; merged weight {last:.2f}")
for name, thing in (("workspace", workspace), ("adapter", adapter), ("params", params), ("linear", linear)):
    getattr(lib, f"clpeft_{name}_destroy")(thing)
for buffer in (x, y, tape):
    cl.clReleaseMemObject(c.c_void_p(buffer.mem))
cl.clReleaseCommandQueue(queue)
lib.clpeft_context_destroy(ctx)
sys.exit(not errors[-1] < 0.5 * errors[0] or not last < 0.5 * errors[0])

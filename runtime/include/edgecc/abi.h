//===- abi.h - What generated code and the runtime agree on -----------------===//
//
// Why a header of its own: the compiler emits these layouts as LLVM types and the runtime fills them in, so this is the
// one place where a change breaks compiled artifacts. Plain C, no includes but <stdint.h>.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_ABI_H
#define EDGECC_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Raised when a field below changes its meaning or place; stored in the file header, checked at load. A field at the end changes
/// neither: code that reads it has a bit in the header's required features.
#define EDGECC_ABI_VERSION 1u

/// Every weight, state, input, output and arena base a kernel sees is aligned to this many bytes.
#define EDGECC_ALIGNMENT 64u

struct edgecc_call;

/// One unit of parallel work of a kernel. `dims` are the values of the model's symbols, `buffers` the kernel's operands
/// (inputs, then in-place states, then outputs) in the order of `edge.kernel`, `task` is in [0, count).
typedef void (*edgecc_task)(const int64_t *dims, uint8_t *const *buffers, int64_t task);

/// Runs task(dims, buffers, i) for each i in [0, count), in any order, on any thread, and returns when all are done.
typedef void (*edgecc_parallel_for)(const struct edgecc_call *call, edgecc_task task, uint8_t *const *buffers, int64_t count);

/// A place where a call may end early.
typedef struct edgecc_exit_point {
  float threshold;  ///< in: the call ends here if the confidence is at least this
  float confidence; ///< out: written when the call comes here, in [0, 1]
} edgecc_exit_point;

/// What an entry point is called with. The runtime owns everything pointed to; generated code reads, and writes only to the
/// arena, states and outputs. The order of the fields is ABI: all are 8 bytes wide.
typedef struct edgecc_call {
  const int64_t *dims;              ///< one value per symbol, in the order of Model.symbols
  uint8_t *arena;                   ///< Entry.arena_size bytes, contents undefined
  const uint8_t *weights;           ///< the weights segment
  uint8_t *const *states;           ///< one per Model.states
  const uint8_t *const *inputs;     ///< one per Entry.inputs, contiguous, row-major
  uint8_t *const *outputs;          ///< one per Entry.outputs, contiguous, row-major
  edgecc_parallel_for parallel_for; ///< the only callback
  void *runtime;                    ///< opaque to generated code
  edgecc_exit_point *exits;         ///< one per Model.exits
  int64_t *exit_taken;              ///< written if the call ends early: the number of the exit
} edgecc_call;

/// An entry point of a compiled model. Cannot fail: everything was checked before.
typedef void (*edgecc_entry)(const edgecc_call *call);

#ifdef __cplusplus
}
#endif
#endif // EDGECC_ABI_H

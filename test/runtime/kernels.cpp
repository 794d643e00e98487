// Stands in for what the compiler generates: freestanding, position-independent, no data, no imports. Built into a flat image by
// the linker script beside it (or linked into a test, for --code=static).
#include "edgecc/abi.h"

extern "C" {

// main: y[n, 3] = x[n, 3] + w[3], one task per row.
static void addRow(const int64_t *dims, uint8_t *const *buffers, int64_t row) {
  const float *x = reinterpret_cast<const float *>(buffers[0]) + 3 * row, *w = reinterpret_cast<const float *>(buffers[1]);
  float *y = reinterpret_cast<float *>(buffers[2]) + 3 * row;
  for (int i = 0; i < 3; ++i)
    y[i] = x[i] + w[i];
}

__attribute__((section(".entry.main"))) void entry_main(const edgecc_call *call) {
  uint8_t *buffers[3] = {const_cast<uint8_t *>(call->inputs[0]), const_cast<uint8_t *>(call->weights), call->outputs[0]};
  call->parallel_for(call, addRow, buffers, call->dims[0]);
}

// step: a "language model" that remembers all tokens in its state [capacity] and predicts the sum of them modulo 300:
// logits[1, s, 300] are 1 there and 0 elsewhere, for each of the s tokens given.
__attribute__((section(".entry.step"))) void entry_step(const edgecc_call *call) {
  const int64_t sequence = call->dims[1], past = call->dims[2];
  int64_t *cache = reinterpret_cast<int64_t *>(call->states[0]);
  const int64_t *ids = reinterpret_cast<const int64_t *>(call->inputs[0]);
  float *logits = reinterpret_cast<float *>(call->outputs[0]);
  for (int64_t s = 0; s < sequence; ++s) {
    cache[past + s] = ids[s];
    int64_t sum = 0;
    for (int64_t i = 0; i <= past + s; ++i)
      sum += cache[i];
    for (int64_t v = 0; v < 300; ++v)
      logits[300 * s + v] = v == sum % 300 ? 1.0f : 0.0f;
  }
}

// poke: writes a byte at where[1] of the arena, state 0, input 1 or output 0, as where[0] says: code that is wrong.
__attribute__((section(".entry.poke"))) void entry_poke(const edgecc_call *call) {
  const int64_t *where = reinterpret_cast<const int64_t *>(call->inputs[0]);
  uint8_t *base = where[0] == 0   ? call->arena
                  : where[0] == 1 ? call->states[0]
                  : where[0] == 2 ? const_cast<uint8_t *>(call->inputs[1])
                                  : call->outputs[0];
  base[where[1]] = 1;
}
}

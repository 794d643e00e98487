// The loader against any bytes: it refuses or loads, and what is loaded can be looked at and opened, but is not executed (code is
// its author's word). Hashes are made right first: an attacker would do that, too, and the fuzzer cannot.
#include "edgecc/edgecc.h"
#include "runtime/src/format.h"
#include "runtime/src/sha256.h"

#include <stdlib.h>
#include <string.h>

using namespace edgecc::rt;

static void look(edgecc_model *model) {
  edgecc_model_info info;
  edgecc_model_get_info(model, &info);
  edgecc_tensor_info tensor;
  edgecc_extent_info extent;
  edgecc_entry_info entry;
  edgecc_segment_info segment;
  edgecc_memory_info memory;
  for (size_t e = 0; edgecc_model_entry(model, e, &entry) == EDGECC_OK; ++e) {
    edgecc_model_advance(model, &entry, &extent);
    for (size_t i = 0; edgecc_model_input(model, e, i, &tensor) == EDGECC_OK; ++i) {
      char text[64];
      edgecc_model_input_values(model, e, i, text, sizeof(text));
      for (uint32_t d = 0; d < tensor.rank; ++d)
        edgecc_model_extent(model, &tensor, d, &extent);
    }
    for (size_t i = 0; edgecc_model_output(model, e, i, &tensor) == EDGECC_OK; ++i)
      for (uint32_t d = 0; d < tensor.rank; ++d)
        edgecc_model_extent(model, &tensor, d, &extent);
  }
  unsigned sum = 0;
  for (size_t i = 0; edgecc_model_segment(model, i, &segment) == EDGECC_OK; ++i)
    for (uint64_t byte = 0; byte < segment.length; ++byte)
      sum += static_cast<const uint8_t *>(segment.data)[byte];
  volatile unsigned keep = sum;
  (void)keep;
  const int64_t contexts[] = {0, 512, INT64_MAX};
  for (int64_t context : contexts)
    edgecc_model_memory(model, context, &memory);
}

static void bind(edgecc_model *model) {
  edgecc_session_options options;
  edgecc_session_options_init(&options);
  options.threads = 1;
  options.memory_limit = 16 << 20;
  edgecc_session *session = nullptr;
  edgecc_error error;
  if (edgecc_session_open(model, &options, &session, &error) != EDGECC_OK)
    return;
  static uint8_t zeros[1 << 16];
  edgecc_tensor_info tensor;
  edgecc_extent_info extent;
  edgecc_entry_info entry;
  for (size_t e = 0; edgecc_model_entry(model, e, &entry) == EDGECC_OK; ++e) {
    for (size_t i = 0; edgecc_model_input(model, e, i, &tensor) == EDGECC_OK; ++i) {
      int64_t shape[kMaxRank];
      uint64_t bytes = edgecc_type_size(tensor.type);
      for (uint32_t d = 0; d < tensor.rank; ++d) {
        edgecc_model_extent(model, &tensor, d, &extent);
        shape[d] = extent.min < 0 ? 0 : extent.min;
        bytes = shape[d] > 1 << 16 ? UINT64_MAX : bytes > sizeof(zeros) ? bytes : bytes * uint64_t(shape[d]);
      }
      if (bytes <= sizeof(zeros))
        edgecc_session_set_input(session, e, i, tensor.type, shape, tensor.rank, zeros, &error);
    }
    edgecc_session_run(session, e, &error);
  }
  edgecc_session_close(session);
}

static void nothing(const edgecc_call *) {}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  void *place = nullptr;
  if (size < sizeof(FileHeader) || posix_memalign(&place, EDGECC_ALIGNMENT, size) != 0)
    return 0;
  memcpy(place, data, size);
  FileHeader header;
  memcpy(&header, place, sizeof(header));
  header.fileSize = size;
  if (header.metadataSize <= size - sizeof(header))
    sha256(static_cast<uint8_t *>(place) + sizeof(header), header.metadataSize, header.metadataSha256);
  memcpy(place, &header, sizeof(header));

  edgecc_model *model = nullptr;
  edgecc_error error;
  edgecc_model_options options;
  edgecc_model_options_init(&options);
  options.flags = EDGECC_INSPECT_ONLY;
  if (edgecc_model_open_memory(place, size, &options, &model, &error) == EDGECC_OK)
    look(model);
  edgecc_model_close(model);
  const edgecc_static_entry entries[] = {{"main", nothing}, {"step", nothing}};
  const edgecc_static_code code = {EDGECC_ABI_VERSION, 2, nullptr, entries};
  options.flags = 0;
  options.code = &code;
  if (edgecc_model_open_memory(place, size, &options, &model, &error) == EDGECC_OK)
    bind(model);
  edgecc_model_close(model);
  free(place);
  return 0;
}

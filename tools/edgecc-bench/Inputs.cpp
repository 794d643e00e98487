#include "tools/edgecc-bench/Bench.h"

#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

namespace edgecc::tools {
namespace {

/// Numbers that are sane for any layer: floats in [-1, 1), integers 0 or `one` (1, but where 0 alone is allowed).
std::vector<uint8_t> someValues(edgecc_type type, uint64_t count, bool one) {
  std::vector<uint8_t> bytes(count * edgecc_type_size(type));
  uint32_t state = 1;
  for (uint64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = float(state >> 8) / float(1 << 23) - 1;
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    switch (type) {
    case EDGECC_F32: memcpy(&bytes[4 * i], &bits, 4); break;
    case EDGECC_BF16: memcpy(&bytes[2 * i], reinterpret_cast<uint8_t *>(&bits) + 2, 2); break;
    case EDGECC_F16: bytes[2 * i] = uint8_t(state >> 24), bytes[2 * i + 1] = 0x38; break; // 0.5 to 0.75
    case EDGECC_F64: {
      const double wide = double(value);
      memcpy(&bytes[8 * i], &wide, 8);
      break;
    }
    default: bytes[i * edgecc_type_size(type)] = uint8_t(one ? state >> 31 : 0); break;
    }
  }
  return bytes;
}

} // namespace

std::string chooseDims(const edgecc_model *model, const std::map<std::string, int64_t> &wanted,
                       std::map<std::string, int64_t> &dims) {
  std::string known;
  edgecc_symbol_info symbol;
  for (size_t i = 0; edgecc_model_symbol(model, i, &symbol) == EDGECC_OK; ++i) {
    if (symbol.role != EDGECC_FREE)
      continue;
    known += (known.empty() ? "" : ", ") + std::string(symbol.name);
    const auto found = wanted.find(symbol.name);
    dims[symbol.name] = found == wanted.end() ? symbol.max : found->second;
    if (dims[symbol.name] < symbol.min || dims[symbol.name] > symbol.max)
      return "--dim " + std::string(symbol.name) + "=" + std::to_string(found->second) + ": the model takes " +
             std::to_string(symbol.min) + " to " + std::to_string(symbol.max);
  }
  for (const auto &[name, value] : wanted)
    if (!dims.count(name))
      return "--dim " + name + ": the model has " + (known.empty() ? "fixed sizes only" : "the sizes " + known);
  return "";
}

std::string fillInputs(const edgecc_model *model, edgecc_session *session, size_t entry,
                       const std::map<std::string, int64_t> &dims) {
  edgecc_tensor_info tensor;
  for (size_t i = 0; edgecc_model_input(model, entry, i, &tensor) == EDGECC_OK; ++i) {
    if (edgecc_model_input_is_optional(model, entry, i))
      continue;
    std::vector<int64_t> shape;
    uint64_t count = 1;
    for (uint32_t d = 0; d < tensor.rank; ++d) {
      edgecc_extent_info extent;
      edgecc_model_extent(model, &tensor, d, &extent);
      const auto found = dims.find(extent.text);
      if (found == dims.end() && extent.min != extent.max)
        return std::string("input '") + tensor.name + "': the size '" + extent.text +
               "' is computed from others; compile with fixed sizes to measure this model";
      shape.push_back(found == dims.end() ? extent.min : found->second);
      count *= uint64_t(shape.back());
    }
    int64_t low, high;
    const bool onlyZero = edgecc_model_input_range(model, entry, i, &low, &high) && high < 1;
    const std::vector<uint8_t> values = someValues(tensor.type, count, !onlyZero);
    Status status = Status::of([&](edgecc_error *error) {
      return edgecc_session_set_input(session, entry, i, tensor.type, shape.data(), tensor.rank, values.data(), error);
    });
    if (!status)
      return status.message();
  }
  return "";
}

uint64_t peakResident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0)
      return std::stoull(line.substr(6)) * 1024;
  return 0;
}

uint64_t residentWeights(const edgecc_model *model) {
  constexpr uint64_t kPresent = uint64_t(1) << 63;
  const uint64_t page = uint64_t(sysconf(_SC_PAGESIZE));
  const int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  uint64_t bytes = 0;
  edgecc_segment_info segment;
  for (size_t i = 0; map >= 0 && edgecc_model_segment(model, i, &segment) == EDGECC_OK; ++i) {
    if (segment.kind != EDGECC_WEIGHTS)
      continue;
    const uint64_t first = reinterpret_cast<uint64_t>(segment.data) / page;
    std::vector<uint64_t> entries((segment.length + page - 1) / page);
    const ssize_t got = pread(map, entries.data(), entries.size() * 8, off_t(first * 8));
    entries.resize(got > 0 ? size_t(got) / 8 : 0);
    for (uint64_t entry : entries)
      bytes += entry & kPresent ? page : 0;
    bytes = std::min<uint64_t>(bytes, segment.length);
  }
  if (map >= 0)
    close(map);
  return bytes;
}

} // namespace edgecc::tools

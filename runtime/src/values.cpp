#include "runtime/src/values.h"

#include "runtime/src/extent.h"
#include "runtime/src/status.h"

#include <stdio.h>
#include <string.h>

namespace edgecc::rt {

using Long = long long;

template <typename T> static T read(const uint8_t *data) {
  T value;
  memcpy(&value, data, sizeof(value));
  return value;
}

static double fromBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return double(value);
}

static double fromHalf(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 0)
    return (sign ? -0x1p-24 : 0x1p-24) * mantissa;
  return fromBits(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13);
}

// Integers beyond 2^53 are rounded; they stay different from all that a rule or a range may say.
static double number(fb::ElementType type, const uint8_t *data) {
  switch (type) {
  case fb::ElementType::f32: return fromBits(read<uint32_t>(data));
  case fb::ElementType::f16: return fromHalf(read<uint16_t>(data));
  case fb::ElementType::bf16: return fromBits(uint32_t(read<uint16_t>(data)) << 16);
  case fb::ElementType::f64: return read<double>(data);
  case fb::ElementType::i64: return double(read<int64_t>(data));
  case fb::ElementType::i32: return read<int32_t>(data);
  case fb::ElementType::i16: return read<int16_t>(data);
  case fb::ElementType::i8: return read<int8_t>(data);
  case fb::ElementType::u64: return double(read<uint64_t>(data));
  case fb::ElementType::u32: return read<uint32_t>(data);
  case fb::ElementType::u16: return read<uint16_t>(data);
  default: return *data;
  }
}

/// "[1, 3]": where element `index` stands.
static ShapeText placeOf(uint64_t index, const int64_t *shape, uint32_t rank) {
  int64_t place[kMaxRank];
  for (uint32_t d = rank; d-- > 0; index /= uint64_t(shape[d]))
    place[d] = int64_t(index % uint64_t(shape[d]));
  return ShapeText(place, rank);
}

edgecc_status checkRange(const fb::Entry &entry, const fb::Tensor &tensor, const int64_t *shape, const void *data,
                         edgecc_error *error) {
  if (!tensor.ranged())
    return EDGECC_OK;
  const uint32_t rank = tensor.shape()->size();
  const uint8_t *from = static_cast<const uint8_t *>(data);
  const size_t size = edgecc_type_size(edgecc_type(tensor.type()));
  uint64_t count = 1;
  for (uint32_t d = 0; d < rank; ++d)
    count *= uint64_t(shape[d]);
  for (uint64_t i = 0; i < count; ++i) {
    const double value = number(tensor.type(), from + i * size);
    if (value < double(tensor.low()) || value > double(tensor.high()))
      return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s': input '%s' is %.15g at %s, but it can be %lld to %lld",
                  entry.name()->c_str(), tensor.name()->c_str(), value, placeOf(i, shape, rank).text, Long(tensor.low()),
                  Long(tensor.high()));
  }
  return EDGECC_OK;
}

edgecc_status checkRule(const fb::Entry &entry, uint32_t index, const Slot &slot, const int64_t *dims, edgecc_error *error) {
  const fb::Tensor &tensor = inputAt(entry, index);
  const bool isOptional = index >= entry.inputs()->size();
  const uint32_t rank = tensor.shape()->size();
  const size_t size = edgecc_type_size(edgecc_type(tensor.type()));
  const int64_t base = evaluate(*tensor.base(), dims), last = rank ? slot.shape[rank - 1] : 1;
  for (uint64_t i = 0; i < slot.bytes / size; ++i) {
    const int64_t along = int64_t(i % uint64_t(last));
    const int64_t expected = tensor.rule() == fb::Rule::Counting ? base + along
                             : tensor.rule() == fb::Rule::Below  ? along < base
                                                                 : base;
    const double value = number(tensor.type(), slot.data + i * size);
    if (value != double(expected))
      return fail(error, EDGECC_INVALID_ARGUMENT,
                  "entry '%s': input '%s' is %.15g at %s, but must be %lld there: the model counts by itself, for sequences "
                  "without padding that all have one length. Run sequences of other lengths one by one%s",
                  entry.name()->c_str(), tensor.name()->c_str(), value, placeOf(i, slot.shape, rank).text, Long(expected),
                  isOptional ? ", or leave this input out" : "");
  }
  return EDGECC_OK;
}

void writeValues(const fb::Tensor &tensor, bool isOptional, const flatbuffers::Vector<flatbuffers::Offset<fb::Symbol>> &symbols,
                 char *text, size_t size) {
  if (!tensor.base()) {
    text[0] = 0;
    if (tensor.ranged())
      snprintf(text, size, "must be %lld to %lld", Long(tensor.low()), Long(tensor.high()));
    return;
  }
  char base[128];
  writeExtent(*tensor.base(), symbols, base, sizeof(base));
  const char *const optional = isOptional ? "optional, " : "";
  if (tensor.rule() == fb::Rule::Equal)
    snprintf(text, size, "%smust be %s", optional, base);
  else if (tensor.rule() == fb::Rule::Counting)
    snprintf(text, size, "%smust count up from %s", optional, base);
  else
    snprintf(text, size, "%smust be 1 in the first %s, 0 in the others", optional, base);
}

} // namespace edgecc::rt

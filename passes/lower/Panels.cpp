//===- Panels.cpp -----------------------------------------------------------===//
#include "passes/lower/Panels.h"
#include "llvm/ADT/APFloat.h"

using namespace mlir;
namespace edgecc {

static constexpr int64_t kPanel = edge::kPanelWidth;

template <typename T> static void packAs(const FloatSource &source, char *to, int64_t first, int64_t last) {
  // The mapping of a file need not be aligned to its elements.
  auto element = [&](int64_t index) {
    T value;
    std::memcpy(&value, source.data + index * int64_t(sizeof(T)), sizeof(T));
    return value;
  };
  T *out = reinterpret_cast<T *>(to);
  for (int64_t panel = first; panel < last; ++panel) {
    T *into = out + panel * source.k * kPanel;
    int64_t columns = std::min(kPanel, source.n - panel * kPanel);
    if (columns < kPanel)
      std::memset(into, 0, source.k * kPanel * sizeof(T));
    if (!source.rowsOfK) {
      for (int64_t k = 0; k < source.k; ++k)
        std::memcpy(into + k * kPanel, source.data + (k * source.n + panel * kPanel) * int64_t(sizeof(T)), columns * sizeof(T));
      continue;
    }
    // A few k at a time, so that the lines that are written are still in the cache when the next row comes.
    constexpr int64_t kBlock = 64;
    for (int64_t block = 0; block < source.k; block += kBlock)
      for (int64_t row = 0; row < columns; ++row)
        for (int64_t k = block, end = std::min(source.k, block + kBlock); k < end; ++k)
          into[k * kPanel + row] = element((panel * kPanel + row) * source.k + k);
  }
}

void packPanels(const FloatSource &source, char *to, int64_t first, int64_t last) {
  source.elementBytes == 4 ? packAs<uint32_t>(source, to, first, last) : packAs<uint16_t>(source, to, first, last);
}

/// Nibbles 0 to 7 of a word -> 0, 4, 1, 5, 2, 6, 3, 7.
static uint32_t interleaveHalves(uint32_t word) {
  auto spread = [](uint32_t half) {
    half = (half | half << 8) & 0x00ff00ff;
    return (half | half << 4) & 0x0f0f0f0f;
  };
  return spread(word & 0xffff) | spread(word >> 16) << 4;
}

/// The steps of one channel in a group, `stride` bytes from one to the next. `from` has `available` bytes; what is behind is
/// zero.
static void packSteps(const edge::QuantizedPanel &panel, const char *from, int64_t available, char *to, int64_t stride) {
  // The number less the middle, in two's complement, is the number with its highest bit turned over.
  uint32_t turned = !panel.order.isSigned() ? 0 : panel.bits == 4 ? 0x88888888u : 0x80808080u;
  for (int64_t step = 0, steps = panel.size / panel.step(); step < steps; ++step) {
    uint32_t word = 0;
    if (int64_t left = available - step * 4; left > 0)
      std::memcpy(&word, from + step * 4, std::min<int64_t>(left, 4));
    word = (panel.bits == 4 ? interleaveHalves(word) : word) ^ turned;
    std::memcpy(to + step * stride, &word, 4);
  }
}

/// A channel of a panel of pairs, the `channel`th of its unit, into zeroed memory.
static void packPairs(const edge::QuantizedPanel &panel, const char *from, int64_t available, char *unit, int64_t channel) {
  for (int64_t step = 0, steps = panel.size / 8; step < steps; ++step) {
    // The numbers less the middle, in two's complement.
    uint8_t numbers[8] = {};
    for (int64_t i = 0; i < 8; ++i) {
      int64_t at = step * 8 + i;
      if (panel.bits == 8)
        numbers[i] = uint8_t(at < available ? from[at] : 0) ^ 0x80;
      else
        numbers[i] = ((at / 2 < available ? uint8_t(from[at / 2]) : 0) >> at % 2 * 4 & 15) ^ 8;
    }
    char *to = unit + step * panel.stepBytes;
    if (panel.bits == 8) {
      std::memcpy(to + channel * 8, numbers, 8);
      continue;
    }
    for (int64_t i = 0; i < 8; ++i)
      to[channel % 2 * 8 + i] |= numbers[i] << channel / 2 * 4;
  }
}

/// The zeros of a source less the middle, in the scales' type.
class Zeros {
public:
  explicit Zeros(const QuantizedSource &source)
      : source(source), bytes(source.quantization.getScale().getIntOrFloatBitWidth() / 8),
        type(bytes == 2 ? llvm::APFloat::IEEEhalf() : llvm::APFloat::IEEEsingle()) {
    for (int64_t value = 0; source.byteZeros && value < 256; ++value)
      table.push_back(relative(float(value)));
  }

  void pack(int64_t at, char *to) const {
    uint32_t word = 0;
    if (source.byteZeros) {
      word = table[uint8_t(source.zeros[at])];
    } else {
      std::memcpy(&word, source.zeros + at * bytes, bytes);
      llvm::APFloat value(type, llvm::APInt(bytes * 8, word));
      bool lost;
      value.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &lost);
      word = relative(value.convertToFloat());
    }
    std::memcpy(to, &word, bytes);
  }

private:
  uint32_t relative(float zero) const {
    llvm::APFloat value(zero - float(edge::middle(source.quantization)));
    bool lost;
    value.convert(type, llvm::APFloat::rmNearestTiesToEven, &lost);
    return uint32_t(value.bitcastToAPInt().getZExtValue());
  }

  const QuantizedSource &source;
  int64_t bytes;
  const llvm::fltSemantics &type;
  SmallVector<uint32_t, 0> table; // of bytes
};

void packQuantizedPanels(const QuantizedSource &source, const edge::QuantizedPanel &panel, char *to, int64_t first,
                         int64_t last) {
  int64_t sources = edge::groupsOf(source.quantization, source.k), sourceBytes = edge::groupBytes(source.quantization, source.k);
  Zeros zeros(source);
  int64_t groupBytes = panel.size * panel.bits / 8, unit = panel.order.unit();
  for (int64_t i = first; i < last; ++i) {
    char *into = to + i * panel.bytes;
    std::memset(into, 0, panel.bytes);
    int64_t channels = std::min(kPanel, source.n - i * kPanel);
    // Groups outside: the lines that are written stay in the cache for all channels.
    for (int64_t group = 0; group < panel.groups; ++group) {
      int64_t inner = group % panel.blockGroups, part = group % panel.parts;
      char *block = into + panel.blockOf(group);
      for (int64_t channel = 0; channel < channels; ++channel) {
        int64_t at = (i * kPanel + channel) * sources + group / panel.parts;
        std::memcpy(block + panel.scaleAt(inner) + channel * panel.scaleBytes, source.scales + at * panel.scaleBytes,
                    panel.scaleBytes);
        if (panel.zeros)
          zeros.pack(at, block + panel.zeroAt(inner) + channel * panel.scaleBytes);
        const char *from = source.numbers + at * sourceBytes + part * groupBytes;
        char *numbers = block + panel.numbersAt(inner) + channel / unit * panel.unitBytes;
        if (panel.pairs)
          packPairs(panel, from, sourceBytes - part * groupBytes, numbers, channel % unit);
        else
          packSteps(panel, from, sourceBytes - part * groupBytes, numbers + channel % unit * 4, unit * 4);
      }
    }
  }
}

} // namespace edgecc

//===- ByteCount.cpp --------------------------------------------------------===//
#include "passes/quantize/ByteCount.h"

using namespace llvm;
namespace edgecc {

Expected<int64_t> parseByteCount(StringRef text) {
  constexpr double kMost = 9e18;
  StringRef number = text;
  double factor = 1, value = 0;
  for (auto [unit, bytes] :
       {std::pair("kB", 1e3), {"MB", 1e6}, {"GB", 1e9}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"B", 1}})
    if (number.consume_back(unit)) {
      factor = bytes;
      break;
    }
  if (number.rtrim().getAsDouble(value) || !(value * factor >= 1 && value * factor < kMost))
    return createStringError("'" + text + "' is no number of bytes above 0; write e.g. 1500000, 1500kB, 1.5MB or 1.5MiB");
  return int64_t(value * factor);
}

} // namespace edgecc

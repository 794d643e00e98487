//===- Wire.h - A cursor over protobuf's wire format ------------------------===//
//
// Total by construction: every read is checked, the first fault is kept with its place, and after it all reads give zeros.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_FRONTEND_WIRE_H
#define EDGECC_COMPILER_FRONTEND_WIRE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Endian.h"

namespace edgecc::onnx {

/// The first fault met while decoding a file; shared by all cursors over it.
struct WireFault {
  const char *what = nullptr; ///< null as long as all is well
  const char *at = nullptr;
};

class Wire {
public:
  enum Kind : unsigned { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

  Wire(llvm::StringRef bytes, WireFault &fault) : at(bytes.begin()), end(bytes.end()), fault(fault) {}

  /// Moves to the next field; false at the end or after a fault. Its value must then be read or skipped.
  bool next() {
    if (fault.what || at == end)
      return false;
    uint64_t tag = varint();
    number = static_cast<unsigned>(tag >> 3);
    kind = static_cast<Kind>(tag & 7);
    if (!fault.what && (number == 0 || tag >> 32 || !(kind <= Bytes || kind == Fixed32)))
      fail("a field tag that is not one");
    return !fault.what;
  }

  bool atEnd() const { return at == end; }
  unsigned field() const { return number; }

  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at == end)
        return fail("a number cut off by the end of its message"), 0;
      uint8_t byte = static_cast<uint8_t>(*at++);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return value;
    }
    return fail("a number of more than 64 bits"), 0;
  }

  /// The value of a field that must be of the given kind; a field of another kind is a fault.
  uint64_t integer() { return expect(Varint) ? varint() : 0; }
  llvm::StringRef bytes() {
    if (!expect(Bytes))
      return {};
    return take(varint());
  }
  float f32() { return expect(Fixed32) ? readFloat(take(4)) : 0; }

  static float readFloat(llvm::StringRef bytes) {
    return bytes.size() == 4 ? llvm::bit_cast<float>(llvm::support::endian::read32le(bytes.data())) : 0;
  }

  /// The encoded value of a repeated number: the whole packed run, or the one element.
  llvm::StringRef numbers() {
    const char *start = at;
    switch (kind) {
    case Bytes: return take(varint());
    case Fixed32: return take(4);
    case Fixed64: return take(8);
    case Varint: varint(); return llvm::StringRef(start, at - start);
    }
    return {};
  }

  void skip() { (void)numbers(); }

  void fail(const char *what) {
    if (!fault.what)
      fault = {what, at};
    at = end;
  }

private:
  bool expect(Kind wanted) {
    if (kind != wanted)
      fail("a field of the wrong kind");
    return kind == wanted;
  }

  llvm::StringRef take(uint64_t size) {
    if (fault.what || size > static_cast<uint64_t>(end - at))
      return fail("a length that is more than what is left of its message"), llvm::StringRef();
    llvm::StringRef taken(at, size);
    at += size;
    return taken;
  }

  const char *at, *end;
  WireFault &fault;
  unsigned number = 0;
  Kind kind = Varint;
};

} // namespace edgecc::onnx
#endif // EDGECC_COMPILER_FRONTEND_WIRE_H

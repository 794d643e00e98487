//===- Weights.cpp --------------------------------------------------------------===//
#include "compiler/package/Weights.h"
#include "edgecc/abi.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/lower/WeightMemory.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"
#include <cinttypes>
#include <thread>

using namespace llvm;
namespace edgecc {
namespace {

/// A multiple of any huge page.
constexpr uint64_t kChunk = 8 << 20, kWorthAThread = 256 << 10;

ArrayRef<uint8_t> asUnsigned(ArrayRef<char> bytes) { return {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}; }

/// Writes and hashes at the same time. A write covers whole huge pages of the file where it can: then the system caches them as
/// such, and whoever maps the file reads it 1.4 times as fast.
class Sink {
public:
  Sink(ArtifactFile &file, uint64_t base, function_ref<void(uint64_t)> progress) : file(file), base(base), progress(progress) {
    pending.reserve(kChunk);
  }

  Error put(ArrayRef<char> bytes) {
    while (!bytes.empty()) {
      uint64_t room = kChunk - (base + position()) % kChunk;
      ArrayRef<char> piece = bytes.take_front(room);
      pending.append(piece.begin(), piece.end());
      mappings.release(piece.data(), piece.size());
      bytes = bytes.drop_front(piece.size());
      if (piece.size() == room)
        if (Error error = flush())
          return error;
    }
    return Error::success();
  }

  Error flush() {
    std::thread hashing;
    if (pending.size() >= kWorthAThread)
      hashing = std::thread([&] { hash.update(asUnsigned(pending)); });
    else
      hash.update(asUnsigned(pending));
    Error error = file.write(base + written, pending);
    if (hashing.joinable())
      hashing.join();
    written += pending.size();
    pending.clear();
    progress(written);
    return error;
  }

  Error zeros(uint64_t count) {
    static const char none[4096] = {};
    for (; count; count -= std::min<uint64_t>(count, sizeof none))
      if (Error error = put(ArrayRef<char>(none, std::min<uint64_t>(count, sizeof none))))
        return error;
    return Error::success();
  }

  uint64_t position() const { return written + pending.size(); }
  Sha256 digest() { return hash.final(); }

private:
  ArtifactFile &file;
  uint64_t base, written = 0;
  SmallVector<char, 0> pending;
  function_ref<void(uint64_t)> progress;
  SHA256 hash;
  FileMappings mappings;
};

uint64_t bytesOf(mlir::ElementsAttr value) {
  if (auto resource = dyn_cast<mlir::DenseResourceElementsAttr>(value)) {
    mlir::AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    return blob ? blob->getData().size() : 0;
  }
  return value.getNumElements() * divideCeil(value.getElementType().getIntOrFloatBitWidth(), 8);
}

/// Elements of a `dense` attribute one after the other; it packs bools into bits and holds a splat once.
Error putDense(Sink &sink, mlir::DenseElementsAttr value) {
  SmallVector<char, 0> bytes;
  bool isBool = value.getElementType().isInteger(1);
  if (!value.isSplat()) {
    if (!isBool)
      return sink.put(value.getRawData());
    for (bool element : value.getValues<bool>())
      bytes.push_back(element);
    return sink.put(bytes);
  }
  char asByte = isBool && value.getSplatValue<bool>();
  ArrayRef<char> element = isBool ? ArrayRef<char>(asByte) : value.getRawData();
  uint64_t left = value.getNumElements() * element.size();
  while (bytes.size() < std::min(left, kWorthAThread))
    bytes.append(element.begin(), element.end());
  for (; left; left -= std::min<uint64_t>(left, bytes.size()))
    if (Error error = sink.put(ArrayRef<char>(bytes).take_front(left)))
      return error;
  return Error::success();
}

} // namespace

Sha256 sha256(ArrayRef<char> bytes) { return SHA256::hash(asUnsigned(bytes)); }

std::string hex(ArrayRef<uint8_t> digest) { return toHex(digest, /*LowerCase=*/true); }

Expected<WeightSegment> WeightSegment::collect(plan::ModelOp model) {
  WeightSegment segment;
  for (plan::WeightOp weight : model.getBody().getOps<plan::WeightOp>())
    segment.weights.push_back(weight);
  llvm::stable_sort(segment.weights, [](plan::WeightOp a, plan::WeightOp b) { return a.getOffset() < b.getOffset(); });
  for (plan::WeightOp weight : segment.weights) {
    std::string name = weight.getName().str();
    uint64_t has = bytesOf(weight.getValue());
    if (has == 0 && weight.getBytes() != 0)
      return createStringError("weight '%s' has no data: it was elided when the module was printed", name.c_str());
    if (has != weight.getBytes())
      return createStringError("weight '%s' is planned with %" PRIu64 " bytes but has %" PRIu64, name.c_str(), weight.getBytes(),
                               has);
    if (weight.getOffset() % EDGECC_ALIGNMENT)
      return createStringError("weight '%s' is at %" PRIu64 ", which is no multiple of %u", name.c_str(), weight.getOffset(),
                               EDGECC_ALIGNMENT);
    if (weight.getOffset() < segment.length)
      return createStringError("weight '%s' at %" PRIu64 " overlaps the one before, which ends at %" PRIu64, name.c_str(),
                               weight.getOffset(), segment.length);
    segment.length = weight.getOffset() + weight.getBytes();
  }
  return segment;
}

Expected<Sha256> WeightSegment::stream(ArtifactFile &file, uint64_t base, function_ref<void(uint64_t)> progress) const {
  Sink sink(file, base, progress);
  for (plan::WeightOp weight : weights) {
    if (Error error = sink.zeros(weight.getOffset() - sink.position()))
      return error;
    Error error = Error::success();
    if (auto resource = dyn_cast<mlir::DenseResourceElementsAttr>(weight.getValue()))
      error = sink.put(resource.getRawHandle().getBlob()->getData());
    else if (auto dense = dyn_cast<mlir::DenseElementsAttr>(weight.getValue()))
      error = putDense(sink, dense);
    else
      error = createStringError("weight '%s' is neither a resource nor dense", weight.getName().str().c_str());
    if (error)
      return error;
  }
  if (Error error = sink.flush())
    return error;
  return sink.digest();
}

} // namespace edgecc

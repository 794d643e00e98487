//===- Weights.cpp --------------------------------------------------------------===//
#include "compiler/package/Weights.h"
#include "edgecc/abi.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"
#include <cinttypes>
#include <cstdio>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using namespace llvm;
namespace edgecc {
namespace {

constexpr uint64_t kChunk = 8 << 20, kWorthAThread = 256 << 10;

ArrayRef<uint8_t> asUnsigned(ArrayRef<char> bytes) { return {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}; }

/// Gives back the pages of file mappings. Only those: the same request on anonymous memory would erase it.
class FileMappings {
public:
  FileMappings() {
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
      return;
    char line[4352], mode[5];
    uint64_t begin, end, inode;
    while (fgets(line, sizeof line, maps))
      if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %" SCNu64, &begin, &end, mode, &inode) == 4)
        // A private page that was written lives nowhere else.
        if (inode != 0 && (mode[1] == '-' || mode[3] == 's'))
          ranges.push_back({begin, end});
    fclose(maps);
  }

  void release(ArrayRef<char> bytes) const {
    uint64_t page = sysconf(_SC_PAGESIZE);
    uint64_t begin = alignTo(reinterpret_cast<uint64_t>(bytes.begin()), page),
             end = alignDown(reinterpret_cast<uint64_t>(bytes.end()), page);
    for (auto &[low, high] : ranges)
      if (low <= begin && end <= high && begin < end)
        madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
  }

private:
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
};

/// Writes and hashes at the same time.
class Sink {
public:
  Sink(ArtifactFile &file, uint64_t base, function_ref<void(uint64_t)> progress) : file(file), base(base), progress(progress) {}

  Error put(ArrayRef<char> bytes) {
    while (!bytes.empty()) {
      ArrayRef<char> piece = bytes.take_front(kChunk);
      bytes = bytes.drop_front(piece.size());
      std::thread hashing;
      if (piece.size() >= kWorthAThread)
        hashing = std::thread([&] { hash.update(asUnsigned(piece)); });
      else
        hash.update(asUnsigned(piece));
      Error error = file.write(base + done, piece);
      if (hashing.joinable())
        hashing.join();
      if (error)
        return error;
      mappings.release(piece);
      done += piece.size();
      progress(done);
    }
    return Error::success();
  }

  Error zeros(uint64_t count) {
    static const char none[4096] = {};
    for (; count; count -= std::min<uint64_t>(count, sizeof none))
      if (Error error = put(ArrayRef<char>(none, std::min<uint64_t>(count, sizeof none))))
        return error;
    return Error::success();
  }

  uint64_t position() const { return done; }
  Sha256 digest() { return hash.final(); }

private:
  ArtifactFile &file;
  uint64_t base, done = 0;
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
  return sink.digest();
}

} // namespace edgecc

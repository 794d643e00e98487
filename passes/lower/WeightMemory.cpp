//===- WeightMemory.cpp -----------------------------------------------------===//
#include "passes/lower/WeightMemory.h"
#include "dialects/edge/Shape.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;
namespace edgecc {

/// Smaller tensors are not worth a file and its pages.
static constexpr int64_t kScratchBytes = 1 << 20;

FileMappings::FileMappings() {
  auto buffer = llvm::MemoryBuffer::getFileAsStream("/proc/self/maps");
  if (!buffer)
    return; // Not Linux: nothing is given back.
  SmallVector<StringRef> lines, fields;
  (*buffer)->getBuffer().split(lines, '\n', -1, false);
  for (StringRef line : lines) {
    fields.clear();
    // begin-end permissions offset device inode path
    line.split(fields, ' ', 5, false);
    auto [begin, end] = fields[0].split('-');
    uint64_t from, to;
    // Private pages that were written to exist nowhere else.
    bool isPrivate = fields.size() > 1 && fields[1].contains('w') && !fields[1].contains('s');
    if (fields.size() < 5 || isPrivate || fields[4] == "0" || begin.getAsInteger(16, from) || end.getAsInteger(16, to))
      continue;
    ranges.push_back({from, to});
  }
}

/// The whole pages inside [data, data + size).
static std::pair<uint64_t, uint64_t> wholePages(const char *data, int64_t size) {
  uint64_t page = sysconf(_SC_PAGESIZE);
  return {llvm::alignTo(uint64_t(data), page), llvm::alignDown(uint64_t(data + size), page)};
}

void FileMappings::release(const char *data, int64_t size) const {
  auto [begin, end] = wholePages(data, size);
  for (auto [from, to] : ranges)
    if (begin < end && from <= begin && end <= to)
      madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}

/// Memory over a file in `folder` that has no name any more; goes with the blob made of it.
static llvm::Expected<AsmResourceBlob> mapScratch(StringRef folder, int64_t bytes) {
  auto error = [&](const char *what) {
    return llvm::createStringError("cannot %s %lld bytes of scratch space in %s: %s; choose another folder with TMPDIR", what,
                                   static_cast<long long>(bytes), folder.str().c_str(), strerror(errno));
  };
  SmallString<128> path(folder);
  llvm::sys::path::append(path, "edgecc-weights-%%%%%%%%");
  int file;
  SmallString<128> name;
  if (std::error_code code = llvm::sys::fs::createUniqueFile(path, file, name)) {
    errno = code.value();
    return error("create");
  }
  llvm::scope_exit closing([&] { close(file); });
  llvm::sys::fs::remove(name);
  // Reserved now: a full disk would show as SIGBUS later.
  if (int code = posix_fallocate(file, 0, bytes)) {
    errno = code;
    return error("reserve");
  }
  void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED)
    return error("map");
  std::shared_ptr<char> owner(static_cast<char *>(memory), [bytes](char *data) { munmap(data, bytes); });
  return UnmanagedAsmResourceBlob::allocateWithAlign({owner.get(), size_t(bytes)}, 64, [owner](void *, size_t, size_t) {},
                                                     /*dataIsMutable=*/true);
}

llvm::Expected<AsmResourceBlob> allocateWeight(int64_t bytes) {
  if (bytes < kScratchBytes)
    return HeapAsmResourceBlob::allocate(bytes, 64);
  SmallString<128> folder;
  llvm::sys::path::system_temp_directory(/*erasedOnReboot=*/true, folder);
  return mapScratch(folder, bytes);
}

void releaseWritten(char *data, int64_t size, int64_t bytes) {
  auto [begin, end] = wholePages(data, size);
  if (bytes >= kScratchBytes && begin < end)
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}

edge::WeightOp weightBehind(Value operand) {
  while (auto reshape = operand.getDefiningOp<edge::ReshapeOp>())
    operand = reshape.getInput();
  return operand.getDefiningOp<edge::WeightOp>();
}

int64_t plainBytes(Value weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  return type.getNumElements() * edge::elementBytes(type.getElementType());
}

void eraseUnreadWeights(Operation *root) {
  root->walk([](edge::WeightOp weight) {
    if (weight->use_empty())
      weight.erase();
  });
}

ArrayRef<char> rawBytes(ElementsAttr value) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    return blob ? blob->getData() : ArrayRef<char>();
  }
  if (auto dense = dyn_cast<DenseElementsAttr>(value); dense && (!dense.isSplat() || dense.getNumElements() == 1))
    return dense.getRawData();
  return {};
}

} // namespace edgecc

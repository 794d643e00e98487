//===- PackWeights.cpp - Linear weights into panels -------------------------===//
//
// Why a pass of its own, early and per module: packed weights are the same for all variants and entries, and they are large.
// A tensor is packed into a scratch mapping over an unlinked file, chunk by chunk in parallel, and the pages of a chunk are given
// back on both sides when it is done: what stays resident is a few chunks, not the model.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Threading.h"
#include "passes/Passes.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PACKWEIGHTS
#include "passes/Passes.h.inc"

namespace {

constexpr int64_t kPanel = edge::kPanelWidth;
/// Smaller tensors are not worth a file and its pages.
constexpr int64_t kScratchBytes = 1 << 20;
/// Source bytes of a unit of parallel work.
constexpr int64_t kChunkBytes = 4 << 20;

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// The mappings of files that only can be read: their pages come back when they are needed again.
class FileMappings {
public:
  FileMappings() {
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
      if (fields.size() < 5 || fields[1].contains('w') || fields[4] == "0" || begin.getAsInteger(16, from) ||
          end.getAsInteger(16, to))
        continue;
      ranges.push_back({from, to});
    }
  }

  /// Drops whole pages inside [data, data + size) if they belong to a file.
  void release(const char *data, int64_t size) const {
    uint64_t page = sysconf(_SC_PAGESIZE), begin = llvm::alignTo(uint64_t(data), page),
             end = llvm::alignDown(uint64_t(data + size), page);
    if (begin < end && llvm::any_of(ranges, [&](auto range) { return range.first <= begin && end <= range.second; }))
      madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
  }

private:
  SmallVector<std::pair<uint64_t, uint64_t>> ranges;
};

/// Memory over a file in `folder` that has no name any more; goes with the blob made of it.
llvm::Expected<AsmResourceBlob> mapScratch(StringRef folder, int64_t bytes) {
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

/// Memory for a packed weight: scratch if it is large.
llvm::Expected<AsmResourceBlob> allocate(int64_t bytes) {
  if (bytes < kScratchBytes)
    return HeapAsmResourceBlob::allocate(bytes, 64);
  SmallString<128> folder;
  llvm::sys::path::system_temp_directory(/*erasedOnReboot=*/true, folder);
  return mapScratch(folder, bytes);
}

//===----------------------------------------------------------------------===//
// Packing
//===----------------------------------------------------------------------===//

/// A weight as it is: [n, k] or [k, n].
struct Source {
  const char *data;
  int64_t n, k, elementBytes;
  bool rowsOfK; // [n, k]
};

/// Panels [first, last) of `to`, [ceil(n / 16), k, 16]; what is beyond n is zero.
template <typename T> void packPanels(const Source &source, char *to, int64_t first, int64_t last) {
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

/// The bytes of a constant; empty if it is no tensor of numbers in memory (a splat).
ArrayRef<char> rawBytes(ElementsAttr value) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    return blob ? blob->getData() : ArrayRef<char>();
  }
  if (auto dense = dyn_cast<DenseElementsAttr>(value); dense && !dense.isSplat())
    return dense.getRawData();
  return {};
}

struct PackWeights : impl::PackWeightsBase<PackWeights> {
  void runOnOperation() override {
    SmallVector<edge::LinearOp> linears;
    SmallVector<edge::EmbeddingOp> embeddings;
    getOperation().walk([&](Operation *op) {
      if (auto linear = dyn_cast<edge::LinearOp>(op))
        linears.push_back(linear);
      else if (auto embedding = dyn_cast<edge::EmbeddingOp>(op))
        embeddings.push_back(embedding);
    });
    FileMappings files;
    for (edge::LinearOp linear : linears)
      if (failed(packLinear(linear, files)))
        return signalPassFailure();
    // A table that is a head, too, is stored once: the lookup reads the head's panels.
    for (edge::EmbeddingOp embedding : embeddings)
      shareTable(embedding);
    getOperation().walk([](edge::WeightOp weight) {
      if (weight->use_empty())
        weight.erase();
    });
  }

private:
  /// The weight behind an operand, through reshapes, which move nothing.
  static edge::WeightOp weightOf(Value value) {
    while (auto reshape = value.getDefiningOp<edge::ReshapeOp>())
      value = reshape.getInput();
    return value.getDefiningOp<edge::WeightOp>();
  }

  /// What a packed weight is known by: the same tensor may be read as [n, k] here and as [k, n] there.
  using Key = std::tuple<Attribute, int64_t, int64_t, bool>;

  LogicalResult packLinear(edge::LinearOp op, const FileMappings &files) {
    edge::WeightOp weight = weightOf(op.getWeight());
    Type element = op.getWeight().getType().getElementType();
    if (!weight || op.getLayout() == edge::WeightLayout::Panels || !(element.isF32() || element.isF16() || element.isBF16()))
      return success();
    ArrayRef<char> data = rawBytes(weight.getValue());
    Source source{data.data(), op.outputChannels(), op.inputChannels(), edge::elementBytes(element),
                  op.getLayout() == edge::WeightLayout::NK};
    if (int64_t(data.size()) != source.n * source.k * source.elementBytes)
      return success(); // A splat or a missing resource: the unpacked form reads it as it is.

    ElementsAttr &packed = known[Key{weight.getValue(), source.n, source.k, source.rowsOfK}];
    if (!packed) {
      auto type = RankedTensorType::get({int64_t(llvm::divideCeil(source.n, kPanel)), source.k, kPanel}, element);
      auto result = pack(source, type, weight.getName(), files);
      if (!result)
        return op.emitError() << "weight '" << weight.getName() << "': " << llvm::toString(result.takeError());
      packed = *result;
    }
    op.getWeightMutable().assign(weightWith(packed, weight, op));
    op.setLayout(edge::WeightLayout::Panels);
    return success();
  }

  llvm::Expected<ElementsAttr> pack(const Source &source, RankedTensorType type, StringRef name, const FileMappings &files) {
    int64_t bytes = type.getNumElements() * source.elementBytes, panels = type.getDimSize(0), panelBytes = bytes / panels;
    auto blob = allocate(bytes);
    if (!blob)
      return blob.takeError();
    char *to = blob->getMutableData().data();
    int64_t perChunk = std::max<int64_t>(1, kChunkBytes / panelBytes);
    parallelFor(&getContext(), 0, llvm::divideCeil(panels, perChunk), [&](size_t chunk) {
      int64_t first = chunk * perChunk, last = std::min(panels, first + perChunk);
      if (source.elementBytes == 4)
        packPanels<uint32_t>(source, to, first, last);
      else
        packPanels<uint16_t>(source, to, first, last);
      // Rows are done with; columns are interleaved with those of the other chunks until all are done.
      if (source.rowsOfK)
        files.release(source.data + first * panelBytes,
                      std::min((last - first) * panelBytes, (source.n - first * kPanel) * source.k * source.elementBytes));
      if (bytes >= kScratchBytes)
        dropWritten(to + first * panelBytes, (last - first) * panelBytes);
    });
    files.release(source.data, source.n * source.k * source.elementBytes);
    return ElementsAttr(DenseResourceElementsAttr::get(type, (name + ".panels").str(), std::move(*blob)));
  }

  /// A shared mapping keeps what was written to it when its pages go.
  static void dropWritten(char *data, int64_t size) {
    uint64_t page = sysconf(_SC_PAGESIZE), begin = llvm::alignTo(uint64_t(data), page),
             end = llvm::alignDown(uint64_t(data + size), page);
    if (begin < end)
      madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
  }

  /// The op that stands for a packed weight in the function of `user`, before all that may read it.
  Value weightWith(ElementsAttr packed, edge::WeightOp weight, Operation *user) {
    auto function = user->getParentOfType<func::FuncOp>();
    Value &value = values[{packed, function}];
    if (!value) {
      auto builder = OpBuilder::atBlockBegin(&function.front());
      value = edge::WeightOp::create(builder, weight.getLoc(), packed.getType(),
                                     builder.getStringAttr((weight.getName() + ".panels").str()), packed);
    }
    return value;
  }

  void shareTable(edge::EmbeddingOp op) {
    edge::WeightOp weight = weightOf(op.getTable());
    auto table = op.getTable().getType();
    if (!weight || op.getLayout() != edge::WeightLayout::NK || table.getRank() != 2)
      return;
    auto found = known.find(Key{weight.getValue(), table.getDimSize(0), table.getDimSize(1), true});
    if (found == known.end())
      return;
    op.getTableMutable().assign(weightWith(found->second, weight, op));
    op.setLayout(edge::WeightLayout::Panels);
    // The panels are filled up; a negative id counts from the true end.
    op->setAttr("rows", Builder(op).getI64IntegerAttr(table.getDimSize(0)));
  }

  std::map<Key, ElementsAttr, bool (*)(const Key &, const Key &)> known{[](const Key &a, const Key &b) {
    auto plain = [](const Key &key) {
      return std::make_tuple(std::get<0>(key).getAsOpaquePointer(), std::get<1>(key), std::get<2>(key), std::get<3>(key));
    };
    return plain(a) < plain(b);
  }};
  DenseMap<std::pair<Attribute, Operation *>, Value> values;
};

} // namespace
} // namespace edgecc

//===- WeightStore.h - Files of weights, mapped -----------------------------===//
//
// Why: a model of many gigabytes compiles on a laptop only if its weights are never read before they are needed. Every file
// is mapped once; constants in the IR borrow from the mapping and keep it alive.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_FRONTEND_WEIGHTSTORE_H
#define EDGECC_COMPILER_FRONTEND_WEIGHTSTORE_H

#include "compiler/frontend/OnnxModel.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include <memory>
#include <string>

namespace edgecc::onnx {

/// The bytes of a file: a private read-only mapping, or a string for text models and tests.
class FileBytes {
public:
  /// Maps a regular file; errors say why it cannot be read.
  static llvm::Expected<std::shared_ptr<const FileBytes>> map(llvm::StringRef path);
  static std::shared_ptr<const FileBytes> own(std::string bytes);

  llvm::StringRef bytes() const { return view; }

  /// Lower-case hex. Pages of a mapping are given back on the way.
  std::string sha256() const;

private:
  llvm::sys::fs::mapped_file_region region;
  std::string owned;
  llvm::StringRef view;
};

/// Bytes that live as long as `owner` does.
struct SharedBytes {
  llvm::StringRef bytes;
  std::shared_ptr<const FileBytes> owner;
};

/// Finds the external data of a model's tensors. A location is a relative path below the model's folder or, failing that,
/// below one of the other folders; nothing outside these folders is ever opened, not through a symbolic link either.
class WeightStore {
public:
  WeightStore(llvm::StringRef modelPath, llvm::ArrayRef<std::string> otherFolders);

  /// The `size` bytes of a tensor with external data. Errors name the tensor and the file.
  llvm::Expected<SharedBytes> find(const proto::Tensor &tensor, uint64_t size);

  /// Returns the real paths of the files that were mapped.
  llvm::ArrayRef<std::string> mapped() const { return paths; }

private:
  llvm::Expected<std::shared_ptr<const FileBytes>> open(llvm::StringRef location);

  llvm::SmallVector<std::string> folders, paths;
  llvm::StringMap<std::shared_ptr<const FileBytes>> files; ///< by location
};

} // namespace edgecc::onnx
#endif // EDGECC_COMPILER_FRONTEND_WEIGHTSTORE_H

//===- ArtifactFile.h - All of a file or none of it ----------------------------===//
#ifndef EDGECC_COMPILER_PACKAGE_ARTIFACTFILE_H
#define EDGECC_COMPILER_PACKAGE_ARTIFACTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>

namespace edgecc {

/// A file that is written under a temporary name beside its own and gets its name when it is complete. Whatever ends the
/// compile before (an error, a signal) removes it; an older file of that name stays as it was until then.
class ArtifactFile {
public:
  /// Takes `size` bytes of the disk where the file system can do so ahead: a full disk shows before the work.
  static llvm::Expected<std::unique_ptr<ArtifactFile>> create(llvm::StringRef path, uint64_t size);
  ~ArtifactFile();
  ArtifactFile(const ArtifactFile &) = delete;
  ArtifactFile &operator=(const ArtifactFile &) = delete;

  /// May be called from several threads.
  llvm::Error write(uint64_t offset, llvm::ArrayRef<char> bytes);
  llvm::Error commit();

private:
  ArtifactFile() = default;
  llvm::Error failure(int error) const;

  std::string path, temporary;
  uint64_t size = 0;
  int descriptor = -1;
};

/// The same for something small that is in memory: text, an object file.
llvm::Error writeWholeFile(llvm::StringRef path, llvm::StringRef contents);

} // namespace edgecc
#endif // EDGECC_COMPILER_PACKAGE_ARTIFACTFILE_H

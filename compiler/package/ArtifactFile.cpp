//===- ArtifactFile.cpp ---------------------------------------------------------===//
#include "compiler/package/ArtifactFile.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"
#include <fcntl.h>
#include <unistd.h>

using namespace llvm;
namespace edgecc {

static std::string megabytes(uint64_t bytes) {
  std::string text;
  raw_string_ostream(text) << format("%.1f MB", bytes / 1e6);
  return text;
}

Error ArtifactFile::failure(int error) const {
  std::string room;
  if (auto space = sys::fs::disk_space(temporary); error == ENOSPC && space)
    room = " (the file needs " + megabytes(size) + ", the disk has " + megabytes(space->available) + " left)";
  return createStringError(std::error_code(error, std::generic_category()), "cannot write %s: %s%s", path.c_str(),
                           strerror(error), room.c_str());
}

Expected<std::unique_ptr<ArtifactFile>> ArtifactFile::create(StringRef path, uint64_t size) {
  std::unique_ptr<ArtifactFile> file(new ArtifactFile);
  file->path = path.str();
  file->size = size;
  sys::fs::file_status status;
  if (!sys::fs::status(path, status) && status.type() != sys::fs::file_type::regular_file)
    return createStringError("cannot write %s: it is no regular file; name another output with -o", file->path.c_str());
  // Where the name is a link, the file it leads to is replaced and the link stays.
  SmallString<128> real;
  if (!sys::fs::real_path(path, real))
    file->path = real.str().str();
  // Known to the signal handler before it exists: there is no moment in which an interrupt leaves it behind.
  file->temporary = file->path + "." + std::to_string(sys::Process::getProcessId()) + ".partial";
  sys::RemoveFileOnSignal(file->temporary);
  file->descriptor = open(file->temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file->descriptor < 0) {
    int error = errno;
    sys::DontRemoveFileOnSignal(file->temporary);
    file->temporary.clear();
    return file->failure(error);
  }
#ifdef __linux__
  if (size && fallocate(file->descriptor, 0, 0, size) != 0 && (errno == ENOSPC || errno == EFBIG))
    return file->failure(errno);
#endif
  return file;
}

ArtifactFile::~ArtifactFile() {
  if (descriptor >= 0)
    close(descriptor);
  if (temporary.empty())
    return;
  sys::fs::remove(temporary);
  sys::DontRemoveFileOnSignal(temporary);
}

Error ArtifactFile::write(uint64_t offset, ArrayRef<char> bytes) {
  while (!bytes.empty()) {
    ssize_t written = pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return failure(written == 0 ? EIO : errno);
    bytes = bytes.drop_front(written);
    offset += written;
  }
  return Error::success();
}

Error ArtifactFile::commit() {
  int result = close(descriptor);
  descriptor = -1;
  if (result != 0)
    return failure(errno);
  if (std::error_code error = sys::fs::rename(temporary, path))
    return failure(error.value());
  sys::DontRemoveFileOnSignal(temporary);
  temporary.clear();
  return Error::success();
}

Error writeWholeFile(StringRef path, StringRef contents) {
  auto file = ArtifactFile::create(path, contents.size());
  if (!file)
    return file.takeError();
  if (Error error = (*file)->write(0, ArrayRef<char>(contents.data(), contents.size())))
    return error;
  return (*file)->commit();
}

} // namespace edgecc

#include "runtime/src/memory.h"

#include "runtime/src/status.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace edgecc::rt {

uint64_t pageSize() { return uint64_t(sysconf(_SC_PAGESIZE)); }

Mapping::~Mapping() { release(); }

void Mapping::release() {
  if (owned && bytes)
    munmap(base, bytes);
  if (descriptor >= 0)
    close(descriptor);
  base = nullptr;
  bytes = 0;
  descriptor = -1;
  owned = false;
}

void Mapping::borrow(const void *data, uint64_t size) {
  release();
  base = static_cast<uint8_t *>(const_cast<void *>(data));
  bytes = size;
}

// Reading weights through pages of 4 KiB costs a third of the memory's speed. Where the system caches a file in huge pages (Linux
// 6.16 on ext4), it can map them as such if address and offset agree; the hint makes it read the file so. Caches are streams,
// too: what a session opens is its own anyway, so they are committed 2 MiB at a time.
static uint8_t *mapAligned(size_t size, int protection, int flags, int descriptor) {
  constexpr size_t kHugePage = 2 << 20;
  if (size > kHugePage && size <= SIZE_MAX - kHugePage) {
    void *room = mmap(nullptr, size + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room != MAP_FAILED) {
      auto *begin = static_cast<uint8_t *>(room);
      const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
      const size_t page = size_t(pageSize()), used = (size + page - 1) / page * page;
      void *address = mmap(begin + before, size, protection, flags | MAP_FIXED, descriptor, 0);
      const bool mapped = address != MAP_FAILED;
      const size_t first = mapped ? before : size + kHugePage;
      if (first)
        munmap(begin, first);
      if (mapped && before + used < size + kHugePage)
        munmap(begin + before + used, size + kHugePage - before - used);
#ifdef __linux__
      if (mapped)
        madvise(address, size, MADV_HUGEPAGE);
#endif
      if (mapped)
        return static_cast<uint8_t *>(address);
    }
  }
  void *address = mmap(nullptr, size, protection, flags, descriptor, 0);
  return address == MAP_FAILED ? nullptr : static_cast<uint8_t *>(address);
}

edgecc_status Mapping::mapFile(const char *path, edgecc_error *error) {
  release();
  descriptor = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (descriptor < 0 || fstat(descriptor, &info) != 0)
    return fail(error, EDGECC_IO, "%s: cannot be opened: %s", path, strerror(errno));
  if (!S_ISREG(info.st_mode))
    return fail(error, EDGECC_IO, "%s: is not a file", path);
  if (info.st_size == 0)
    return fail(error, EDGECC_MALFORMED, "%s: not a model.edge: the file is empty", path);
  base = mapAligned(size_t(info.st_size), PROT_READ, MAP_PRIVATE, descriptor);
  if (!base)
    return fail(error, EDGECC_IO, "%s: cannot be mapped: %s", path, strerror(errno));
  bytes = uint64_t(info.st_size);
  owned = true;
  return EDGECC_OK;
}

edgecc_status Mapping::mapCode(const Mapping &file, uint64_t offset, uint64_t size, edgecc_error *error) {
  release();
  if (file.descriptor >= 0) {
    if (offset % pageSize() != 0)
      return fail(error, EDGECC_UNSUPPORTED,
                  "code at offset %llu is not aligned to this machine's pages of %llu bytes: compile with a larger alignment",
                  static_cast<unsigned long long>(offset), static_cast<unsigned long long>(pageSize()));
    void *address = mmap(nullptr, size_t(size), PROT_READ | PROT_EXEC, MAP_PRIVATE, file.descriptor, off_t(offset));
    if (address == MAP_FAILED)
      return fail(
          error, EDGECC_IO,
          "code cannot be mapped executable (%s): the file's place or the system's policy forbids it, link the code statically",
          strerror(errno));
    base = static_cast<uint8_t *>(address);
    bytes = size;
    owned = true;
    return EDGECC_OK;
  }
  // From memory: written first, executable only after it can no longer be written.
  if (edgecc_status status = allocate(size, error))
    return status;
  memcpy(base, file.base + offset, size);
  if (mprotect(base, size_t(size), PROT_READ | PROT_EXEC) != 0)
    return fail(error, EDGECC_IO,
                "memory cannot be made executable (%s): open the model from a file, or link the code statically",
                strerror(errno));
  __builtin___clear_cache(reinterpret_cast<char *>(base), reinterpret_cast<char *>(base + size));
  return EDGECC_OK;
}

edgecc_status Mapping::allocate(uint64_t size, edgecc_error *error) {
  release();
  const uint64_t wanted = size ? size : 1;
  if (wanted == size_t(wanted))
    base = mapAligned(size_t(wanted), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  if (!base)
    return fail(error, EDGECC_OUT_OF_MEMORY, "the system has no %s of memory left", HumanBytes(wanted).text);
  bytes = wanted;
  owned = true;
  return EDGECC_OK;
}

void Mapping::zero() {
  if (!bytes)
    return;
#ifdef __linux__
  // Gives the pages back; they read as zeros.
  if (madvise(base, bytes, MADV_DONTNEED) == 0)
    return;
#endif
  memset(base, 0, bytes);
}

} // namespace edgecc::rt

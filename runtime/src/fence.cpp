#include "runtime/src/fence.h"

#include "runtime/src/session.h"
#include "runtime/src/status.h"

#include <string.h>
#include <sys/mman.h>

using namespace edgecc;
using namespace edgecc::rt;

static constexpr uint8_t kPattern = 0xA5;

Fence::~Fence() {
  if (mapping)
    munmap(mapping, size_t(room + 2 * pageSize()));
}

uint8_t *Fence::place(uint64_t size) {
  const uint64_t page = pageSize(), pages = size / page + (size % page != 0);
  if (pages > SIZE_MAX / page - 2)
    return nullptr;
  if (!mapping || pages * page > room) {
    void *fresh = mmap(nullptr, size_t((pages + 2) * page), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fresh == MAP_FAILED)
      return nullptr;
    if (mapping)
      munmap(mapping, size_t(room + 2 * page));
    mapping = static_cast<uint8_t *>(fresh);
    room = pages * page;
  }
  // Accessible are the pages that the buffer needs, directly before the last one.
  uint8_t *const end = mapping + page + room, *const begin = end - pages * page;
  mprotect(mapping, size_t(begin - mapping), PROT_NONE);
  if (pages && mprotect(begin, size_t(end - begin), PROT_READ | PROT_WRITE) != 0)
    return nullptr;
  bytes = size;
  data = end - alignedSize(size);
  memset(begin, kPattern, size_t(data - begin));
  memset(data + bytes, kPattern, size_t(end - data - bytes));
  return data;
}

bool Fence::findDamage(int64_t &offset) const {
  if (!mapping)
    return false;
  const uint8_t *const end = mapping + pageSize() + room;
  const uint8_t *byte = data - uintptr_t(data) % pageSize();
  while (byte < data && *byte == kPattern)
    ++byte;
  if (byte == data)
    for (byte += bytes; byte < end && *byte == kPattern;)
      ++byte;
  offset = byte - data;
  return byte != end;
}

edgecc_status edgecc_session::checkFences(const fb::Entry &entry, const EntrySlots &slots, edgecc_error *error) const {
  edgecc_status status = EDGECC_OK;
  auto check = [&](const Fence &fence, const char *what, const char *name) {
    int64_t offset;
    if (status == EDGECC_OK && fence.findDamage(offset))
      status =
          fail(error, EDGECC_MALFORMED, "entry '%s': its code wrote to byte %lld of %s%s, which has %llu bytes",
               entry.name()->c_str(), static_cast<long long>(offset), what, name, static_cast<unsigned long long>(fence.size()));
  };
  check(arenaFence, "the arena", "");
  for (uint32_t i = 0; i < model->metadata->states()->size(); ++i)
    check(stateFences[i], "state ", model->metadata->states()->Get(i)->name()->c_str());
  for (uint32_t i = 0; i < slots.inputCount; ++i)
    check(slots.inputs[i].fence, "input ", inputAt(entry, i).name()->c_str());
  for (uint32_t i = 0; i < slots.outputCount; ++i)
    check(slots.outputs[i].fence, "output ", entry.outputs()->Get(i)->name()->c_str());
  return status;
}

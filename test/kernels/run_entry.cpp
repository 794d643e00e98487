//===- run_entry.cpp - Calls entries of a compiled kernel library -----------===//
//
// Why not the runtime: kernels are tested before there is a model around them, natively and under qemu, by the same program.
// Every buffer ends at a page that cannot be touched, so that a read or write beyond the end is a crash and no accident.
//
// usage: run_entry LIBRARY CASES [REPEATS]     CASES is what harness.py writes; results go to CASES.out
//
//===----------------------------------------------------------------------===//
#include "edgecc/abi.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace {

[[noreturn]] void fail(const char *what, const char *which) {
  std::fprintf(stderr, "run_entry: %s: %s\n", what, which);
  std::exit(1);
}

uint64_t readNumber(FILE *file) {
  uint64_t value = 0;
  if (std::fread(&value, sizeof value, 1, file) != 1)
    fail("cases end too early", "number");
  return value;
}

/// `size` bytes, aligned, that end less than EDGECC_ALIGNMENT before a page without access.
uint8_t *guarded(uint64_t size) {
  constexpr uint64_t kPage = 65536;
  uint64_t rounded = (size + EDGECC_ALIGNMENT - 1) / EDGECC_ALIGNMENT * EDGECC_ALIGNMENT;
  uint64_t whole = (rounded + kPage - 1) / kPage * kPage;
  void *memory = mmap(nullptr, whole + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(static_cast<uint8_t *>(memory) + whole, kPage, PROT_NONE) != 0)
    fail("out of memory", "buffer");
  // What is never written shows as NaN.
  std::memset(memory, 0xff, whole);
  return static_cast<uint8_t *>(memory) + whole - rounded;
}

struct Buffers {
  std::vector<uint8_t *> data;
  std::vector<uint64_t> sizes;
  Buffers(FILE *file, bool filled) {
    for (uint64_t i = 0, n = readNumber(file); i < n; ++i) {
      sizes.push_back(readNumber(file));
      data.push_back(guarded(sizes.back()));
      if (filled && sizes.back() && std::fread(data.back(), sizes.back(), 1, file) != 1)
        fail("cases end too early", "buffer");
    }
  }
  void write(FILE *file) const {
    for (size_t i = 0; i < data.size(); ++i)
      std::fwrite(data[i], 1, sizes[i], file);
  }
};

} // namespace

int main(int argc, char **argv) {
  if (argc < 3)
    fail("usage", "run_entry LIBRARY CASES [REPEATS]");
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library)
    fail("cannot open the library", dlerror());
  FILE *cases = std::fopen(argv[2], "rb");
  FILE *results = std::fopen((std::string(argv[2]) + ".out").c_str(), "wb");
  if (!cases || !results)
    fail("cannot open", argv[2]);
  long repeats = argc > 3 ? std::atol(argv[3]) : 1;
  for (uint64_t n = readNumber(cases); n; --n) {
    std::string name(readNumber(cases), ' ');
    if (std::fread(name.data(), 1, name.size(), cases) != name.size())
      fail("cases end too early", "name");
    auto entry = reinterpret_cast<edgecc_entry>(dlsym(library, name.c_str()));
    if (!entry)
      fail("no such entry", name.c_str());
    uint64_t arena = readNumber(cases);
    std::vector<int64_t> dims(readNumber(cases));
    for (int64_t &dim : dims)
      dim = int64_t(readNumber(cases));
    Buffers inputs(cases, true), states(cases, true), outputs(cases, false);
    edgecc_call call{};
    call.dims = dims.data();
    call.arena = guarded(arena);
    call.inputs = inputs.data.data();
    call.states = states.data.data();
    call.outputs = outputs.data.data();
    call.parallel_for = [](const edgecc_call *call, edgecc_task task, uint8_t *const *buffers, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        task(call->dims, buffers, i);
    };
    // Not the wall's time: other work on the machine must not count.
    auto now = [] {
      timespec time;
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
      return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
    };
    double start = now();
    for (long i = 0; i < repeats; ++i)
      entry(&call);
    double seconds = now() - start;
    if (argc > 3)
      std::printf("%s %.9f\n", name.c_str(), seconds / double(repeats));
    states.write(results);
    outputs.write(results);
  }
  return std::fclose(results);
}

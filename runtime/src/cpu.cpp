//===- cpu.cpp --------------------------------------------------------------===//
//
// Why not __builtin_cpu_supports: its names differ between compilers, and it does not exist for AArch64 in those of Debian 12.
//
//===----------------------------------------------------------------------===//
#include "runtime/src/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace edgecc::rt {
namespace {

#if defined(__x86_64__)
enum Register { Eax, Ebx, Ecx, Edx };
enum StateMask : uint64_t { kNone = 0, kYmm = 0x6, kZmm = 0xe6 };

struct Feature {
  const char *name;
  uint32_t leaf, subleaf;
  Register reg;
  unsigned bit;
  StateMask state; ///< register state that the operating system must save
};

constexpr Feature kFeatures[] = {
    {"sse4.2", 1, 0, Ecx, 20, kNone},    {"popcnt", 1, 0, Ecx, 23, kNone},    {"avx", 1, 0, Ecx, 28, kYmm},
    {"fma", 1, 0, Ecx, 12, kYmm},        {"f16c", 1, 0, Ecx, 29, kYmm},       {"avx2", 7, 0, Ebx, 5, kYmm},
    {"bmi", 7, 0, Ebx, 3, kNone},        {"bmi2", 7, 0, Ebx, 8, kNone},       {"lzcnt", 0x80000001, 0, Ecx, 5, kNone},
    {"avxvnni", 7, 1, Eax, 4, kYmm},     {"avx512f", 7, 0, Ebx, 16, kZmm},    {"avx512dq", 7, 0, Ebx, 17, kZmm},
    {"avx512cd", 7, 0, Ebx, 28, kZmm},   {"avx512bw", 7, 0, Ebx, 30, kZmm},   {"avx512vl", 7, 0, Ebx, 31, kZmm},
    {"avx512vbmi", 7, 0, Ecx, 1, kZmm},  {"avx512vnni", 7, 0, Ecx, 11, kZmm}, {"avx512bf16", 7, 1, Eax, 5, kZmm},
    {"avx512fp16", 7, 0, Edx, 23, kZmm}, {"avx512ifma", 7, 0, Ebx, 21, kZmm}, {"avx512vbmi2", 7, 0, Ecx, 6, kZmm},
};

bool has(const Feature &feature) {
  unsigned regs[4] = {};
  if (!__get_cpuid_count(feature.leaf, feature.subleaf, &regs[0], &regs[1], &regs[2], &regs[3]) ||
      !(regs[feature.reg] >> feature.bit & 1))
    return false;
  if (feature.state == kNone)
    return true;
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx >> 27 & 1))
    return false;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & feature.state) == feature.state;
}

/// Names for what compilers and people say in one word.
struct Group {
  const char *name;
  const char *members[12];
};
constexpr Group kGroups[] = {
    {"x86-64-v3", {"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "popcnt", "sse4.2"}},
    {"avx512", {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}},
    {"x86-64-v4", {"x86-64-v3", "avx512"}},
};
#elif defined(__aarch64__) && defined(__linux__)
// Bits of the Linux user interface, written out because older system headers lack the newer ones.
struct Feature {
  const char *name;
  unsigned long word, bit;
};
constexpr Feature kFeatures[] = {
    {"neon", AT_HWCAP, 1},   {"fp16", AT_HWCAP, 10}, {"lse", AT_HWCAP, 8},    {"dotprod", AT_HWCAP, 20},
    {"fhm", AT_HWCAP, 23},   {"sve", AT_HWCAP, 22},  {"sve2", AT_HWCAP2, 1},  {"i8mm", AT_HWCAP2, 13},
    {"bf16", AT_HWCAP2, 14}, {"sme", AT_HWCAP2, 23}, {"sme2", AT_HWCAP2, 37},
};
bool has(const Feature &feature) { return getauxval(feature.word) >> feature.bit & 1; }

struct Group {
  const char *name;
  const char *members[1];
};
constexpr Group kGroups[] = {{"fullfp16", {"fp16"}}};
#else
struct Feature {
  const char *name;
};
constexpr Feature kFeatures[] = {{"neon"}};
bool has(const Feature &) { return false; }
struct Group {
  const char *name;
  const char *members[1];
};
constexpr Group kGroups[] = {{"", {nullptr}}};
#endif

/// The number in a one-line file of /sys, or `otherwise`.
long readNumber(const char *format, int cpu, long otherwise) {
  char path[128];
  snprintf(path, sizeof(path), format, cpu);
  FILE *file = fopen(path, "re");
  if (!file)
    return otherwise;
  char line[64];
  long value = fgets(line, sizeof(line), file) ? strtol(line, nullptr, 10) : otherwise;
  fclose(file);
  return value;
}

} // namespace

const char *cpuArchitecture() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "";
#endif
}

bool cpuHas(const char *name) {
  for (const Group &group : kGroups) {
    if (strcmp(group.name, name) != 0)
      continue;
    for (const char *member : group.members)
      if (member && !cpuHas(member))
        return false;
    return true;
  }
  for (const Feature &feature : kFeatures)
    if (strcmp(feature.name, name) == 0)
      return has(feature);
  return false;
}

bool listHas(const char *list, const char *name) {
  const size_t length = strlen(name);
  for (const char *at = list; *at; at += *at == ',') {
    const size_t item = strcspn(at, ",");
    if (item == length && memcmp(at, name, length) == 0)
      return true;
    at += item;
  }
  return false;
}

uint32_t performanceCores() {
#ifdef __linux__
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return 1;
  // Phones tell a core's capacity (1024 for the fastest); elsewhere all are equal.
  long capacities[CPU_SETSIZE], fastest = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    capacities[cpu] = -1;
    if (!CPU_ISSET(cpu, &allowed))
      continue;
    capacities[cpu] = readNumber("/sys/devices/system/cpu/cpu%d/cpu_capacity", cpu, 1024);
    fastest = capacities[cpu] > fastest ? capacities[cpu] : fastest;
  }
  uint32_t cores = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (capacities[cpu] < 0 || 2 * capacities[cpu] < fastest)
      continue;
    // The first of its siblings stands for a physical core, unless the process may not use that one.
    long first = readNumber("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu, cpu);
    const bool representative = first == cpu || first < 0 || first >= CPU_SETSIZE || capacities[first] < 0;
    cores += representative ? 1 : 0;
  }
  return cores ? cores : 1;
#else
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? uint32_t(online) : 1;
#endif
}

} // namespace edgecc::rt

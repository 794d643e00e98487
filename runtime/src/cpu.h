//===- cpu.h - What this processor can do -----------------------------------===//
#ifndef EDGECC_RUNTIME_CPU_H
#define EDGECC_RUNTIME_CPU_H

#include <stddef.h>
#include <stdint.h>

namespace edgecc::rt {

/// "x86_64", "aarch64", or "" on others: those run statically linked code only.
const char *cpuArchitecture();

/// Whether this processor (and operating system) has a feature, by the names of model.fbs; false for unknown names.
bool cpuHas(const char *feature);

/// Whether `name` is one of the comma-separated `list`.
bool listHas(const char *list, const char *name);

/// Physical cores at full speed that this process may use: hyperthreads and efficiency cores are left out.
uint32_t performanceCores();

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_CPU_H

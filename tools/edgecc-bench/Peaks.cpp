//===- Peaks.cpp - Loops that do nothing but multiply and add ---------------===//
//
// Assembly, since it is the only way to name the instruction whose speed is meant. Twelve independent sums hide the latency of
// every processor we know and leave four of x86's 16 registers for operands. Operands are zero: no subnormal numbers, no NaN.
//
//===----------------------------------------------------------------------===//
#include "runtime/src/cpu.h"
#include "tools/edgecc-bench/Machine.h"

namespace edgecc::tools {
namespace {

constexpr double kChains = 12;
#define EDGECC_TWELVE(line) line(0) line(1) line(2) line(3) line(4) line(5) line(6) line(7) line(8) line(9) line(10) line(11)

#if defined(__x86_64__)

// clang-format off
#define EDGECC_CLOBBERED "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
  "xmm12", "xmm13", "xmm14", "xmm15"
// clang-format on
#define EDGECC_ZERO_Z(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n"
#define EDGECC_ZERO_Y(i) "vpxor %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n"
#define EDGECC_ZERO_X(i) "xorps %%xmm" #i ", %%xmm" #i "\n"
#define EDGECC_VNNI512(i) "vpdpbusd %%zmm12, %%zmm13, %%zmm" #i "\n"
#define EDGECC_VNNI256(i) "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm" #i "\n"
#define EDGECC_MADD256(i)                                                                                                        \
  "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n vpmaddwd %%ymm15, %%ymm14, %%ymm15\n vpaddd %%ymm15, %%ymm" #i ", %%ymm" #i "\n"
#define EDGECC_FMA512(i) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" #i "\n"
#define EDGECC_FMA256(i) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #i "\n"
#define EDGECC_SSE(i) "movaps %%xmm12, %%xmm15\n mulps %%xmm13, %%xmm15\n addps %%xmm15, %%xmm" #i "\n"

/// One function per loop: `macs` multiply-adds per line and turn.
#define EDGECC_LOOP(name, macs, zero, line, end)                                                                                 \
  double name(int64_t turns) {                                                                                                   \
    if (turns > 0)                                                                                                               \
      __asm__ volatile(EDGECC_TWELVE(zero) zero(12) zero(13) zero(14)                                                            \
                           zero(15) "1:\n" EDGECC_TWELVE(line) "dec %0\n jnz 1b\n" end                                           \
                       : "+r"(turns)                                                                                             \
                       :                                                                                                         \
                       : EDGECC_CLOBBERED);                                                                                      \
    return kChains * (macs);                                                                                                     \
  }
EDGECC_LOOP(vnni512, 64, EDGECC_ZERO_Z, EDGECC_VNNI512, "vzeroupper")
EDGECC_LOOP(vnni256, 32, EDGECC_ZERO_Y, EDGECC_VNNI256, "vzeroupper")
EDGECC_LOOP(madd256, 32, EDGECC_ZERO_Y, EDGECC_MADD256, "vzeroupper")
EDGECC_LOOP(fma512, 16, EDGECC_ZERO_Z, EDGECC_FMA512, "vzeroupper")
EDGECC_LOOP(fma256, 8, EDGECC_ZERO_Y, EDGECC_FMA256, "vzeroupper")
EDGECC_LOOP(sse, 4, EDGECC_ZERO_X, EDGECC_SSE, "")

const PeakLoop kInt8[] = {{"AVX-512 VNNI", "avx512vnni", vnni512},
                          {"AVX-VNNI", "avxvnni", vnni256},
                          {"AVX2 maddubs", "avx2", madd256},
                          {"SSE f32", "", sse}};
const PeakLoop kF32[] = {{"AVX-512 FMA", "avx512", fma512}, {"AVX2 FMA", "fma", fma256}, {"SSE", "", sse}};

#elif defined(__aarch64__)

#define EDGECC_CLOBBERED                                                                                                         \
  "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15"
#define EDGECC_ZERO_V(i) "movi v" #i ".4s, #0\n"
#define EDGECC_SMMLA(i) "smmla v" #i ".4s, v12.16b, v13.16b\n"
#define EDGECC_SDOT(i) "sdot v" #i ".4s, v12.16b, v13.16b\n"
#define EDGECC_SMLAL(i) "smull v14.8h, v12.8b, v13.8b\n smlal2 v14.8h, v12.16b, v13.16b\n sadalp v" #i ".4s, v14.8h\n"
#define EDGECC_FMLA(i) "fmla v" #i ".4s, v12.4s, v13.4s\n"
#define EDGECC_LOOP(name, macs, extension, line)                                                                                 \
  double name(int64_t turns) {                                                                                                   \
    if (turns > 0)                                                                                                               \
      __asm__ volatile(extension EDGECC_TWELVE(EDGECC_ZERO_V) EDGECC_ZERO_V(12)                                                  \
                           EDGECC_ZERO_V(13) "1:\n" EDGECC_TWELVE(line) "subs %0, %0, #1\n b.ne 1b\n"                            \
                       : "+r"(turns)                                                                                             \
                       :                                                                                                         \
                       : EDGECC_CLOBBERED);                                                                                      \
    return kChains * (macs);                                                                                                     \
  }
EDGECC_LOOP(smmla, 32, ".arch armv8.6-a+i8mm\n", EDGECC_SMMLA)
EDGECC_LOOP(sdot, 16, ".arch armv8.2-a+dotprod\n", EDGECC_SDOT)
EDGECC_LOOP(smlal, 16, "", EDGECC_SMLAL)
EDGECC_LOOP(fmla, 4, "", EDGECC_FMLA)

const PeakLoop kInt8[] = {{"smmla", "i8mm", smmla}, {"sdot", "dotprod", sdot}, {"smlal", "", smlal}};
const PeakLoop kF32[] = {{"fmla", "", fmla}};

#endif

/// The first whose feature the processor has; each table ends with one that all have.
template <size_t N> PeakLoop best(const PeakLoop (&loops)[N]) {
  const PeakLoop *loop = loops;
  while (*loop->feature && !rt::cpuHas(loop->feature))
    ++loop;
  return *loop;
}

/// Eight sums: no addition waits for another. Inlined into functions that may use wider registers.
template <typename Vector> __attribute__((always_inline)) inline uint64_t sumAs(const uint8_t *data, size_t bytes) {
  const Vector *from = reinterpret_cast<const Vector *>(data), *end = from + bytes / sizeof(Vector);
  Vector sums[8] = {};
  for (; from != end; from += 8)
    for (int i = 0; i < 8; ++i)
      sums[i] += from[i];
  for (int i = 1; i < 8; ++i)
    sums[0] += sums[i];
  uint64_t total = 0;
  for (size_t i = 0; i < sizeof(Vector) / 8; ++i)
    total += sums[0][i];
  return total;
}

typedef uint64_t Vector16 __attribute__((vector_size(16), may_alias));
uint64_t sum16(const uint8_t *data, size_t bytes) { return sumAs<Vector16>(data, bytes); }

#if defined(__x86_64__)
typedef uint64_t Vector32 __attribute__((vector_size(32), may_alias));
typedef uint64_t Vector64 __attribute__((vector_size(64), may_alias));
__attribute__((target("avx2"))) uint64_t sum32(const uint8_t *data, size_t bytes) { return sumAs<Vector32>(data, bytes); }
__attribute__((target("avx512f"))) uint64_t sum64(const uint8_t *data, size_t bytes) { return sumAs<Vector64>(data, bytes); }
#endif

} // namespace

PeakLoop int8Peak() { return best(kInt8); }
PeakLoop f32Peak() { return best(kF32); }

uint64_t sumOf(const uint8_t *data, size_t bytes) {
#if defined(__x86_64__)
  if (rt::cpuHas("avx512f"))
    return sum64(data, bytes);
  if (rt::cpuHas("avx2"))
    return sum32(data, bytes);
#endif
  return sum16(data, bytes);
}

} // namespace edgecc::tools

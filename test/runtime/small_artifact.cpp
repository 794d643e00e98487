// Writes the small artifact of the tests: for the examples, and as a start for the fuzzer.
#include "test/runtime/Artifact.h"

#include <cstdio>

int main(int argc, char **argv) {
  const std::vector<uint8_t> bytes = edgecc::test::write(edgecc::test::smallArtifact());
  FILE *file = argc == 2 ? fopen(argv[1], "wb") : nullptr;
  if (!file)
    return fprintf(stderr, "usage: edgecc-small-artifact FILE\n"), 2;
  const bool written = fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  return fclose(file) == 0 && written ? 0 : 1;
}

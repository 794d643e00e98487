// Writes the small artifact of the runtime's tests into a file, for the tests of the Python package: they need no compiler then.
#include "test/runtime/Artifact.h"

#include <cstdio>

int main(int, char **argv) {
  const std::vector<uint8_t> bytes = edgecc::test::write(edgecc::test::smallArtifact());
  FILE *file = fopen(argv[1], "wb");
  return file && fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() && fclose(file) == 0 ? 0 : 1;
}

// Embedding in C++: open a model once, keep a session, run it as often as you like.
//   embed_cpp model.edge     for a model with an entry main: x f32 [n, 3] -> y f32 [n, 3]
#include <cstdio>
#include <edgecc/edgecc.hpp>

int main(int argc, char **argv) {
  if (argc != 2)
    return fprintf(stderr, "usage: embed_cpp model.edge\n"), 2;
  edgecc::Model model;
  edgecc::Session session;
  edgecc::Status status = model.open(argv[1]);
  if (status)
    status = session.open(model);
  const float x[] = {1, 2, 3, 4, 5, 6};
  if (status)
    status = session.setInput("main", "x", {2, 3}, x);
  if (status)
    status = session.run("main");
  edgecc_output y;
  if (status)
    status = session.output(model.handle(), "main", "y", y);
  if (!status)
    return fprintf(stderr, "%s\n", status.message()), 1;
  for (size_t i = 0; i < y.bytes / sizeof(float); ++i)
    printf("%g ", static_cast<const float *>(y.data)[i]);
  printf("\n");
}

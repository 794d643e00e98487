/* Embedding in C: the same as embed.cpp, against the shared library and without the C++ library. */
#include <edgecc/edgecc.h>
#include <stdio.h>

int main(int argc, char **argv) {
  edgecc_model *model = NULL;
  edgecc_session *session = NULL;
  edgecc_output y;
  edgecc_error error;
  const float x[] = {1, 2, 3, 4, 5, 6};
  const int64_t shape[] = {2, 3};
  int ok = argc == 2;
  if (!ok)
    return fprintf(stderr, "usage: embed_c model.edge\n"), 2;
  ok = edgecc_model_open(argv[1], NULL, &model, &error) == EDGECC_OK &&
       edgecc_session_open(model, NULL, &session, &error) == EDGECC_OK &&
       edgecc_session_set_input_by_name(session, "main", "x", EDGECC_F32, shape, 2, x, &error) == EDGECC_OK &&
       edgecc_session_run_by_name(session, "main", &error) == EDGECC_OK &&
       edgecc_session_output(session, 0, 0, &y, &error) == EDGECC_OK;
  for (size_t i = 0; ok && i < y.bytes / sizeof(float); ++i)
    printf("%g ", ((const float *)y.data)[i]);
  printf("%s\n", ok ? "" : error.message);
  edgecc_session_close(session);
  edgecc_model_close(model);
  return ok ? 0 : 1;
}

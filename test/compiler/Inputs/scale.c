/* Runs scale.mlir twice and prints the results; with STATIC_CODE, through code linked into this program. */
#include "edgecc/edgecc.h"
#include <stdio.h>
#include <stdlib.h>
#ifdef STATIC_CODE
#include STATIC_CODE
#endif

static void check(edgecc_status status, const edgecc_error *error) {
  if (status == EDGECC_OK)
    return;
  printf("error: %s\n", error->message);
  exit(1);
}

int main(int argc, char **argv) {
  edgecc_error error;
  edgecc_model_options options;
  edgecc_model_options_init(&options);
#ifdef STATIC_CODE
  options.code = &static_code;
#endif
  options.cpu = argc > 2 ? argv[2] : NULL;
  edgecc_model *model;
  check(edgecc_model_open(argv[1], &options, &model, &error), &error);
  edgecc_model_info info;
  edgecc_model_get_info(model, &info);
  printf("code: %s\n", info.code);
  edgecc_session_options session_options;
  edgecc_session_options_init(&session_options);
  session_options.context = 64;
  edgecc_session *session;
  check(edgecc_session_open(model, &session_options, &session, &error), &error);
  float x[6] = {1, 1, 1, 1, 10, 10};
  int64_t shape[1] = {6};
  for (int call = 0; call < 2; ++call) {
    check(edgecc_session_set_input(session, 0, 0, EDGECC_F32, shape, 1, x, &error), &error);
    check(edgecc_session_run(session, 0, &error), &error);
    edgecc_output y;
    check(edgecc_session_output(session, 0, 0, &y, &error), &error);
    printf("y:");
    for (int i = 0; i < 6; ++i)
      printf(" %g", ((const float *)y.data)[i]);
    printf("\n");
  }
  edgecc_session_close(session);
  edgecc_model_close(model);
  return 0;
}

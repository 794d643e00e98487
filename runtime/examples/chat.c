/* Answers a question with a chat model:  chat model.edge "What is the capital of France?" */
#include "edgecc/text.h"

#include <stdio.h>
#include <string.h>

static int print(void *user, const edgecc_piece *piece) {
  (void)user;
  fwrite(piece->text, 1, piece->size, stdout);
  fflush(stdout);
  return 0; /* anything else ends the answer */
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: chat model.edge QUESTION\n");
    return 2;
  }
  edgecc_error error = {""};
  edgecc_model *model = NULL;
  edgecc_session *session = NULL;
  edgecc_text *text = NULL;
  edgecc_chat *chat = NULL;
  edgecc_status status = edgecc_model_open(argv[1], NULL, &model, &error);
  if (status == EDGECC_OK)
    status = edgecc_session_open(model, NULL, &session, &error);
  if (status == EDGECC_OK)
    status = edgecc_text_open(model, &text, &error);
  if (status == EDGECC_OK)
    status = edgecc_chat_open(text, model, session, &chat, &error);
  if (status == EDGECC_OK)
    status = edgecc_chat_add(chat, "user", argv[2], strlen(argv[2]), &error);
  if (status == EDGECC_OK) {
    edgecc_generation generation;
    edgecc_usage usage;
    edgecc_generation_init(text, &generation); /* the model's own sampling parameters */
    generation.max_tokens = 200;
    generation.on_piece = print;
    status = edgecc_chat_answer(chat, &generation, &usage, &error);
    if (status == EDGECC_OK)
      printf("\n(%llu tokens, ended by: %s)\n", (unsigned long long)usage.generated_tokens, edgecc_finish_name(usage.finish));
  }
  if (status != EDGECC_OK)
    fprintf(stderr, "chat: %s\n", error.message);
  edgecc_chat_close(chat);
  edgecc_text_close(text);
  edgecc_session_close(session);
  edgecc_model_close(model);
  return status == EDGECC_OK ? 0 : 1;
}

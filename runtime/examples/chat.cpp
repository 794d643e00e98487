// A conversation of several questions:  chat model.edge "My name is Ada." "What is my name?"
#include "edgecc/text.hpp"

#include <cstdio>

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: chat model.edge QUESTION...\n");
    return 2;
  }
  edgecc::Model model;
  edgecc::Session session;
  edgecc::Text text;
  edgecc::Chat chat;
  edgecc::Status status = model.open(argv[1]);
  if (status)
    status = session.open(model);
  if (status)
    status = text.open(model);
  if (status)
    status = chat.open(text, model, session);
  for (int i = 2; i < argc && status; ++i) {
    printf("> %s\n", argv[i]);
    if (status = chat.add("user", argv[i]); !status)
      break;
    edgecc_generation generation = text.generation(); // the model's own sampling parameters
    generation.max_tokens = 100;
    edgecc_usage usage;
    status = chat.answer(generation, [](std::string_view piece) {
      fwrite(piece.data(), 1, piece.size(), stdout);
      return true; // go on
    }, &usage);
    if (status)
      printf("\n(%llu of %llu prompt tokens were cached)\n", static_cast<unsigned long long>(usage.cached_tokens),
             static_cast<unsigned long long>(usage.prompt_tokens));
  }
  if (!status)
    fprintf(stderr, "chat: %s\n", status.message());
  return status ? 0 : 1;
}

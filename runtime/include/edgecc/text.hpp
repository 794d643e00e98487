//===- text.hpp - The text library with owners ---------------------------------===//
//
// Handles close themselves, and pieces of an answer go to anything that can be called; the rest is the C interface (text.h).
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_TEXT_HPP
#define EDGECC_TEXT_HPP

#include "edgecc/edgecc.hpp"
#include "edgecc/text.h"

#include <string_view>

namespace edgecc {

/// Tokenizer and chat template of a model, which must outlive it.
class Text {
public:
  Status open(const Model &model) {
    edgecc_text *text = nullptr;
    Status status = Status::of([&](edgecc_error *error) { return edgecc_text_open(model.handle(), &text, error); });
    owner.reset(text);
    return status;
  }
  edgecc_text *handle() const { return owner.get(); }
  /// Returns the model's own sampling parameters.
  edgecc_generation generation() const {
    edgecc_generation generation;
    edgecc_generation_init(handle(), &generation);
    return generation;
  }

private:
  struct Closer {
    void operator()(edgecc_text *text) const { edgecc_text_close(text); }
  };
  std::unique_ptr<edgecc_text, Closer> owner;
};

/// A conversation over a session. Text, model and session must outlive it.
class Chat {
public:
  Status open(const Text &text, const Model &model, const Session &session) {
    edgecc_chat *chat = nullptr;
    Status status = Status::of(
        [&](edgecc_error *error) { return edgecc_chat_open(text.handle(), model.handle(), session.handle(), &chat, error); });
    owner.reset(chat);
    return status;
  }
  edgecc_chat *handle() const { return owner.get(); }

  Status add(const char *role, std::string_view content) {
    return Status::of(
        [&](edgecc_error *error) { return edgecc_chat_add(handle(), role, content.data(), content.size(), error); });
  }
  /// Generates the answer. `onPiece(std::string_view)` gets its text and returns whether to go on.
  template <typename OnPiece> Status answer(edgecc_generation generation, OnPiece onPiece, edgecc_usage *usage = nullptr) {
    generation.user = &onPiece;
    generation.on_piece = [](void *user, const edgecc_piece *piece) {
      return (*static_cast<OnPiece *>(user))(std::string_view(piece->text, piece->size)) ? 0 : 1;
    };
    return Status::of([&](edgecc_error *error) { return edgecc_chat_answer(handle(), &generation, usage, error); });
  }

private:
  struct Closer {
    void operator()(edgecc_chat *chat) const { edgecc_chat_close(chat); }
  };
  std::unique_ptr<edgecc_chat, Closer> owner;
};

} // namespace edgecc
#endif // EDGECC_TEXT_HPP

"""German to English translation with an encoder-decoder Transformer; BLEU of a beam search."""

"""LibriSpeech utterances, transcribed by a bidirectional recurrent network with CTC."""

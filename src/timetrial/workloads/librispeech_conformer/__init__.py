"""LibriSpeech utterances, transcribed by a conformer with CTC."""

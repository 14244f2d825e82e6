"""The heart: clock, loop, evaluation, checkpoint. Runs ONE trial and writes ONE record."""

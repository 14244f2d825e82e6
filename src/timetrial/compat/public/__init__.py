"""What a public submission imports as `algoperf` or `algorithmic_efficiency`: names, values and quirks as there."""

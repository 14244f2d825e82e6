"""Language modelling on educational web text with a decoder-only Transformer; perplexity."""

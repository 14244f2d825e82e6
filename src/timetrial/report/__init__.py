"""Tables for the terminal, pages for the browser."""

"""How results look: plain text formats, terminal tables, figures."""

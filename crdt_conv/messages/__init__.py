"""Messages, their parts and hidden fields, as pure values."""

"""WebSockets: who is let in, what one may send and is sent, and the two dialects spoken on them."""

"""The Hocuspocus dialect: many documents on one socket."""

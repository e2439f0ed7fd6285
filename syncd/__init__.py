"""Transport: protocols, rooms, server, client, and the programs that compose everything."""

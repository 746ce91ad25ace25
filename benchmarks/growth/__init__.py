"""How the time grows with the depth of the shape, the number of rows and the latency of the network."""

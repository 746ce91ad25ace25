"""Read from replicas that have what a client has written."""

"""Messages between ranks: the protocol in `base`, MPI and one-process transports."""

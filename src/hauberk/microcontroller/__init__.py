"""Networks as C for microcontrollers: the integer graph, its reference in torch, and the source."""

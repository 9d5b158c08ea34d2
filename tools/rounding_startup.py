"""Start-up file of kernels with disturbed arithmetic; it leaves no name behind."""

__import__("tools.rounding")

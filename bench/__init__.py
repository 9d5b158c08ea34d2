"""What mflib is measured against, and how: `make bench`."""

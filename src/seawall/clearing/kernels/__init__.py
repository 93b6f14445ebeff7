"""Integer loops on bare arrays, compiled to machine code, each with a plain twin in `twins`."""

"""What the builtin model runs in the sandbox: it looks at a database, and prints facts."""

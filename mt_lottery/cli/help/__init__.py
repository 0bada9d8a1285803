"""What ``mt-train --help`` prints, and the examples of every command."""

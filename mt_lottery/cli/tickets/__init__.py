"""The subcommands of ``mt-ticket``, a module each."""

"""What the paper measures about tickets, on finished runs and on model folders."""

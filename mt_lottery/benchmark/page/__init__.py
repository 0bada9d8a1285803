"""``leaderboard.html``: tables, plot and sentences in one file."""

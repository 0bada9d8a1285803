"""From the records of a benchmark to its leaderboard, and how that is written."""

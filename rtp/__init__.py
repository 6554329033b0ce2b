"""RTP: packets in columns, sequence, timeline, clock, statistics (pure); receivers and ports (shells)."""

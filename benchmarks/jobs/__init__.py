"""The same jobs done with this package and with today's ways: lines, requests, bytes and seconds."""

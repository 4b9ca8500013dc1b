"""The loads that draw one scene of many moving things: a rasterised frame, and traced paths."""

"""Roboflow's SAM 3, serverless, dedicated or self-hosted: one file a call, and what they share."""

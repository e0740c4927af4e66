"""Adapters of live sessions for voice-agent frameworks: `pipecat` and `livekit`, each one file over the client."""

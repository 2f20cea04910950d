"""asyncio helpers that know nothing of AWS: the clock, retries, pacing, the stages of the pipeline."""

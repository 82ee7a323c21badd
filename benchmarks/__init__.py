"""Speed, memory and robustness, measured side by side in one run; absolute times mean little."""

"""Send records to a running collector: landing files at their own pace, or the sample network."""

"""What decides whether a bot keeps a release and whether others follow; runs on the controller."""

"""What trains the miniature: networks, data, learner, several processes."""

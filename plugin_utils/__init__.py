"""Pure functions that run on the controller, for the action and callback plugins and their tests."""

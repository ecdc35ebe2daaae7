"""Fast exact forms and their hand-written backward passes."""

"""From a stored order to the shop: CloudEvents in a topic, and posted to the shop's addresses."""

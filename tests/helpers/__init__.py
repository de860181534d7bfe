"""What tests share: sales, services, messages, figures. No test imports another test."""

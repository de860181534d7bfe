"""What tests share: sales, services, messages, figures. No test is here, and no test imports another."""

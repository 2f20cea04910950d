"""What tests lean on: a scripted DynamoDB endpoint and the real engines."""

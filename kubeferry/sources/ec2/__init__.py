"""What EC2's API says of an instance, as a Machine: pure, from boto3's answers and from JSON of the `aws` tool."""

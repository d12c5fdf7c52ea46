"""What others may rely on over Kafka: an AsyncAPI document of the topics and a JSON Schema of every command and fact."""

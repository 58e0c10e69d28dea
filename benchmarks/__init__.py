"""What limbeck is measured with."""

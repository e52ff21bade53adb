"""What is wrong with samples besides their labels: duplicates, leaks into the test set, outliers, broken inputs."""

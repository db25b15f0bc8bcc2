"""What tests, benches and the demo need, importable: test data, contract suites, private servers."""

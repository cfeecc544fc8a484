// Package fault holds the tests that disturb the rollout engine at each of its requests, against a real API
// server: `make fault`. See docs/fault-tests.md.
package fault

// Package controller holds the loops of the manager. The release loop turns the spec of a
// Release into a Rollout and reports the Release's state. The rollout loop moves one
// Rollout on: observe, decide, record, act. What to do is decided elsewhere, by package
// plan and by the pure functions of this package; the loops gather, write and wait.
//
// Every loop may die between any two calls to the API server, or run twice for a while
// (I6): names are deterministic, statuses are written on the resourceVersion that was
// read and before the first action, and actions are absolute.
package controller

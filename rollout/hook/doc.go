// Package hook calls the hooks of Rollouts over HTTP and keeps what they answer until the
// planner has taken it.
//
// Nothing here holds up whoever begins a call or asks for answers. Calls are made in the
// background, so many at a time in all and so many of each address, so that a server that
// hangs costs only those who wait for it.
//
// A call is made at least once: a manager that dies forgets what it has begun, and the next
// one begins it again with the same id. When, and how often, a hook is tried is decided by
// package plan; this package makes one try and says what came of it.
package hook

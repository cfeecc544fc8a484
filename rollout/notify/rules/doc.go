// Package rules reads the platform's file of notifications and says which sinks are told
// of an event. It is pure: bytes in, a checked file out.
//
// The file has no secret in it. A sink names keys of a Secret in the manager's namespace,
// and whoever sends reads them then.
package rules

// Package news decides what of a Rollout is worth telling people, and says it: what
// happened, why, with the stable code, and what to do. It is pure: it is given the status
// before and after, and the time.
//
// The kinds of events are a closed set. Most changes of a Rollout's reason are a controller
// at work and make none, or one of the severity Debug, which nobody is told who has not
// asked for it. An event has one key within its Rollout's life: the entry of the history
// that it falls into, its kind, and the code where a kind has several. What has been told
// under a key is not told again, so that an analysis that comes and goes is one event.
package news

// Package plan decides what a Rollout does next. It is pure: Next takes facts and the
// time, and returns the status to record, the writes to do and when to look again. The
// controller, the simulator and the exhaustive tests call this one function.
//
// # How a decision is made
//
// The commands of people are taken first, in order. Then the guards of the phase are
// asked, in order; the first that has something to say decides: it holds the Rollout
// where it is, or moves it on, and gives a reason code and a sentence either way. After
// a move the guards of the new phase are asked at once. At last the actions are derived,
// as the difference between what the status now asks for and what was seen. So the
// status is the only memory, and any action can be lost or repeated.
//
// # What holds
//
// A Rollout of a revision over another one (the usual case) walks the steps. The status
// names the current step and ApprovedWeight is that step's weight, always; step 0 has
// weight 0. Falling back is going back to an earlier step and passing its gates again.
//
// Each step sets one thing or waits for one thing; what holds after it is a Level, all that the
// steps up to it have set. Exposure rises only from one level to the next.
//
// The set of the new revision always has the pods that the current level needs; those that the
// next rise needs are asked for when nothing but an analysis is in between. The stable set stays
// whole until the promotion is decided to be irreversible (Status.Retiring), unless the strategy
// has it give up pods as their traffic goes; then no traffic returns before they do.
//
// A Rollout with no stable revision (a first install) has no steps unless the strategy asks for them,
// and one over its own revision (only replicas, route or shared objects differ) has none: see
// kindFirst, kindInPlace. Where only one set can serve, traffic is never taken away from it for want
// of pods.
//
// Behind a plain Service a weight is a share of the pods. What is not available gets no request there,
// so the number of pods that the set asks for is the exposure, and pods that are lost take theirs
// with them.
//
// A wanted size of 0 is no pods: the route then points at nobody, as was wanted, and no steps are
// walked to or from there.
package plan

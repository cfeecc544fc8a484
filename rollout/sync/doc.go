// Package sync decides how the Releases of a template come to a new revision of it. It is
// pure: Next takes facts and the time, and returns the status to record, what to assign
// to which Release, and when to look again. The template loop and the tests call this one
// function.
//
// # How a decision is made
//
// The target is chosen first: the newest revision, or what a rollback returned to. Then
// each Release is looked at: which wave it is in, and how far on its way. Then the command
// of a person is taken. Then the guards are asked, in order, and the first that has
// something to say decides: it holds the sync where it is, or moves it on to the next
// wave. At last the assignments are derived, as the difference between what the status
// now asks for and what the Releases have. So the status of the template and the
// assignments are the only memory, and any write can be lost or repeated.
//
// # What holds
//
//   - A Release gets the target when its wave has begun, never before. Pins and channels
//     are left alone.
//   - While the sync is paused or halted nobody gets the target.
//   - At most MaxConcurrent Releases are under way at the same time.
//   - A Release that its team paused, that does not render, or that takes too long is
//     excused: nobody waits for it. But a wave of which not one Release has settled proves
//     nothing, and the next one does not begin by itself.
//   - A wave with more failures than it may have halts the sync, also when they come late.
//     What fails is returned to its stable revision by its own Rollout.
//   - A rollback is like an abort: for all at once, and nobody is asked.
//
// A Release that has once been brought to the target has settled, whatever becomes of
// later changes by its own team.
package sync

package budget

import (
	"context"
	"runtime"
)

// patience is for how many looks of the watch a batch keeps its place.
const patience = 4

// places are for those that evaluate, as many as there are processors: with more at once
// each would take the longer, and all would hold on to their memory meanwhile. Whoever
// comes first goes first. One that is slow gives its place up and goes on without, so that
// it holds up nobody.
var places = make(chan struct{}, runtime.GOMAXPROCS(0))

// enter takes a place. It says no when ctx ends before there is one.
func enter(ctx context.Context) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave gives the place up, once.
func (x *watching) leave() {
	if x.inside.CompareAndSwap(true, false) {
		<-places
	}
}

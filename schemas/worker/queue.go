package worker

import (
	"slices"
	"sync"
)

// owner is whom a request is for. What it costs is held against it alone.
type owner struct {
	// name is of the Release or the template.
	name string
	// group is what shares the pool fairly with other groups: a namespace, or all
	// templates that are checked.
	group string
}

// job is one request on its way.
type job struct {
	request request
	owner   owner
	// input is the digest of everything that the answer depends on.
	input string
	// only is the number of the slot that has to do it, from 1; 0 is any.
	only int
	// done takes the outcome, and has room for it, since whoever asked may have gone.
	done chan outcome
}

// moved tells that a part of the job has ended; never where it has none.
func (j *job) moved() <-chan struct{} {
	if j.request.parts == nil {
		return nil
	}
	return j.request.parts.moved
}

type outcome struct {
	reply *reply
	err   error
}

// queue holds the jobs that wait. What runs next is decided by, in this order:
//
//   - An owner has one job running at a time.
//   - A group, and a template, that cost a worker not long ago have one job running at a
//     time, so that they never hold the whole pool.
//   - The group that was served the longest time ago comes first.
//   - Within a group, who came first.
type queue struct {
	limit int
	// suspect says whether a group or the digest of a template is held to one worker.
	suspect func(name string) bool
	// length is told how many wait.
	length func(int)

	mu      sync.Mutex
	changed *sync.Cond
	closed  bool
	waiting []*job
	// owners and names count what runs: names are groups and digests.
	owners map[owner]int
	names  map[string]int
	// served is the turn in which a group was served last; only groups that wait or run.
	served map[string]uint64
	turn   uint64
}

func newQueue(limit int, suspect func(string) bool, length func(int)) *queue {
	q := &queue{limit: limit, suspect: suspect, length: length, owners: map[owner]int{}, names: map[string]int{}, served: map[string]uint64{}}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// add puts a job in; it returns an error when the queue is full or closed.
func (q *queue) add(j *job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case len(q.waiting) >= q.limit:
		return ErrBusy
	}
	q.waiting = append(q.waiting, j)
	q.length(len(q.waiting))
	if j.only != 0 {
		q.changed.Broadcast()
		return nil
	}
	// One job is work for one: it wakes whoever has waited the longest, so that all workers
	// come to know the templates in use.
	q.changed.Signal()
	return nil
}

// drop takes a job out that nobody waits for any more. One that runs is left alone: the
// engine cannot be interrupted, and the worker's deadline stands.
func (q *queue) drop(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(other *job) bool { return other == j })
	q.length(len(q.waiting))
	q.forget(j.owner.group)
}

// next waits for a job that may run in the slot of that number and marks it as running; ok
// is false when the queue was closed.
func (q *queue) next(slot int) (j *job, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return nil, false
		}
		if i := q.choose(slot); i >= 0 {
			j = q.waiting[i]
			q.waiting = slices.Delete(q.waiting, i, i+1)
			q.length(len(q.waiting))
			q.owners[j.owner]++
			q.names[j.owner.group]++
			q.names[j.request.Digest]++
			q.turn++
			q.served[j.owner.group] = q.turn
			return j, true
		}
		q.changed.Wait()
	}
}

func (q *queue) choose(slot int) int {
	best := -1
	for i, j := range q.waiting {
		if j.only != 0 && j.only != slot || !q.mayRun(j) {
			continue
		}
		if best < 0 || q.served[j.owner.group] < q.served[q.waiting[best].owner.group] {
			best = i
		}
	}
	return best
}

func (q *queue) mayRun(j *job) bool {
	if q.owners[j.owner] > 0 {
		return false
	}
	for _, name := range []string{j.owner.group, j.request.Digest} {
		if q.names[name] > 0 && q.suspect(name) {
			return false
		}
	}
	return true
}

// finished marks a job as no longer running.
func (q *queue) finished(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	less(q.owners, j.owner)
	less(q.names, j.owner.group)
	less(q.names, j.request.Digest)
	q.forget(j.owner.group)
	q.changed.Broadcast()
}

// forget drops the turn of a group that has nothing here, so that the map stays small.
func (q *queue) forget(group string) {
	if q.names[group] > 0 || slices.ContainsFunc(q.waiting, func(j *job) bool { return j.owner.group == group }) {
		return
	}
	delete(q.served, group)
}

// close ends the queue and returns the jobs that were waiting.
func (q *queue) close() []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := q.waiting
	q.waiting = nil
	q.length(0)
	q.changed.Broadcast()
	return left
}

// runs reports how many jobs of an owner's name run.
func (q *queue) runs(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for o := range q.owners {
		if o.name == name {
			return true
		}
	}
	return false
}

func less[K comparable](m map[K]int, key K) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}

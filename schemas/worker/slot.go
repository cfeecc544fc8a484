package worker

import (
	"fmt"
	"time"
)

// slot is the place of one worker: it has a process when it had work.
type slot struct {
	pool *Pool
	// number counts the slots of the pool from 1.
	number  int
	process *process
}

// run works until the pool is closed.
func (s *slot) run() {
	defer s.end((*process).stop)
	for {
		j, ok := s.pool.queue.next(s.number)
		if !ok {
			return
		}
		out := s.work(j)
		// Where there are parts, one of them is to blame, and whoever asked knows which.
		if bomb, ok := out.err.(*BombError); ok && j.request.parts == nil { //nolint:errorlint // made below, never wrapped
			s.pool.grudges.hold(j, bomb)
		}
		s.pool.queue.finished(j)
		j.done <- out
		// Nobody waits for the rest.
		s.recycle(out.reply)
		if s.process != nil {
			s.process.worked, _ = s.pool.options.worked(s.process.cmd.Process.Pid)
		}
	}
}

// work asks the slot's process. One that dies by something from outside is replaced and
// asked once more, since the request is not to blame.
func (s *slot) work(j *job) outcome {
	for tries := 1; ; tries++ {
		if err := s.begin(); err != nil {
			return outcome{err: err}
		}
		p := s.process
		r, cause, byItself := s.attempt(j)
		switch {
		case cause == "":
			return outcome{reply: r}
		case s.pool.isClosed():
			return outcome{err: ErrClosed}
		}
		s.pool.options.Metrics.died(cause)
		s.pool.options.Log.Info("Render worker died", "owner", j.owner.name, "operation", j.request.Op, "cause", cause, "try", tries, "said", p.said.String())
		if cause == CauseStarved {
			s.pool.grudges.doubt(j.owner.group)
			return outcome{err: fmt.Errorf("%w (in %s, it was given less than half of %s to work)", ErrStarved, patience*s.pool.timeout(j), s.pool.timeout(j))}
		}
		if cause == CauseKilled && tries > 1 {
			s.pool.grudges.doubt(j.owner.group)
			return outcome{err: ErrKilled}
		}
		if byItself || tries > 1 {
			return outcome{err: &BombError{Owner: j.owner.name, Cause: cause, Limit: s.limit(j, cause)}}
		}
	}
}

// limit is what was exceeded, in words.
func (s *slot) limit(j *job, cause Cause) string {
	switch cause {
	case CauseDeadline:
		return s.pool.timeout(j).String()
	case CauseMemory:
		return fmt.Sprintf("%d MiB", s.pool.options.Memory>>20)
	case CauseCrash, CauseStarved, CauseKilled:
	}
	return ""
}

// begin starts a process where there is none, or where it has ended.
func (s *slot) begin() error {
	if s.process != nil {
		select {
		case <-s.process.exited:
			s.end((*process).stop)
		default:
			return nil
		}
	}
	o := s.pool.options
	memory := max(o.Memory, 0)
	if o.unlimited {
		memory = 0
	}
	p, err := start(o.Command, memory)
	if err != nil {
		return err
	}
	s.process = p
	s.pool.options.Metrics.started()
	return nil
}

// end takes the process away.
func (s *slot) end(by func(*process)) {
	if s.process == nil {
		return
	}
	by(s.process)
	s.process = nil
	s.pool.options.Metrics.stopped()
}

// patience is how many times the deadline a worker may take that the machine hardly lets
// work.
const patience = 4

// lookAgain is the part of the deadline after which a worker that was given more time is
// looked at again.
const lookAgain = 4

// overdue says why a worker is to be killed that began so long ago and worked for a part of
// it; it is empty where it is given more time. A machine that does much else makes
// everything late, and what is late by that is no bomb: a bomb works whenever it is let.
// Known is false where the system does not tell how long a process worked.
func overdue(timeout, since, worked time.Duration, known bool) Cause {
	switch {
	case !known || worked >= timeout/2:
		return CauseDeadline
	case since >= patience*timeout:
		return CauseStarved
	}
	return ""
}

// attempt asks the process and kills it when it takes too long or holds too much. The
// cause is empty when there is a reply; byItself says that the request is what did it.
func (s *slot) attempt(j *job) (r *reply, cause Cause, byItself bool) {
	p := s.process
	type answer struct {
		reply *reply
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		r, err := p.ask(j.request)
		answers <- answer{r, err}
	}()
	watch := s.pool.options.Clock
	timeout, start := s.pool.timeout(j), watch.Now()
	deadline := watch.NewTimer(timeout)
	defer deadline.Stop()
	look := watch.NewTicker(lookEvery)
	defer look.Stop()
	// The pipes are closed then, so there is an answer: the reply, where it came while this
	// process was kept from looking.
	kill := func(c Cause) (*reply, Cause, bool) {
		s.end((*process).kill)
		if a := <-answers; a.err == nil {
			return a.reply, "", false
		}
		return nil, c, true
	}
	for {
		select {
		case <-j.moved():
			timeout, start = s.pool.timeout(j), watch.Now()
			deadline.Reset(timeout)
			p.worked, _ = s.pool.options.worked(p.cmd.Process.Pid)
		case a := <-answers:
			if a.err == nil {
				return a.reply, "", false
			}
			cause, byItself = s.autopsy()
			return nil, cause, byItself
		case <-deadline.C():
			worked, known := s.pool.options.worked(p.cmd.Process.Pid)
			if c := overdue(timeout, watch.Since(start), worked-p.worked, known); c != "" {
				return kill(c)
			}
			deadline.Reset(max(timeout/lookAgain, time.Nanosecond))
		case <-look.C():
			held := resident(p.cmd.Process.Pid)
			p.seen = max(p.seen, held)
			if limit := s.pool.options.Memory; limit > 0 && held > limit {
				return kill(CauseMemory)
			}
		case <-s.pool.ended:
			return kill(CauseCrash)
		}
	}
}

// autopsy ends a process that did not answer: it has ended, or it writes what nobody
// understands and must end. It says what it died of.
func (s *slot) autopsy() (cause Cause, byItself bool) {
	p, alone := s.process, false
	select {
	case <-p.exited:
		alone = true
	case <-s.pool.options.Clock.After(grace):
	}
	s.end((*process).kill)
	cause, byItself = p.wentWrong(s.pool.options.Memory)
	if alone && !byItself && p.killed() {
		cause = CauseKilled
	}
	return cause, byItself
}

// grace is how long a child that no longer answers may take to end by itself, so that its
// exit code is its own.
const grace = 200 * time.Millisecond

// recycle replaces a process that has grown or served long, while it has no work.
func (s *slot) recycle(last *reply) {
	if s.process == nil {
		return
	}
	o := s.pool.options
	switch {
	case s.process.served >= o.MaxRequests:
		o.Metrics.replaced(recycledRequests)
	case last != nil && o.MaxIdle > 0 && last.Resident > o.MaxIdle:
		o.Metrics.replaced(recycledMemory)
	default:
		return
	}
	s.end((*process).stop)
	// The next one starts now, not when somebody waits for it. Where that fails it is tried
	// again with the next request, which is told.
	if !s.pool.isClosed() {
		_ = s.begin()
	}
}

func (p *Pool) isClosed() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *Pool) timeout(j *job) time.Duration {
	switch j.request.Op {
	case OpCheck, OpVet, OpCompare, OpPolicyCompile:
		return p.options.CheckTimeout
	case OpPolicyJudge:
		return j.request.parts.timeout()
	case OpRender, OpCompile, OpImmutable, OpPing:
	}
	return p.options.Timeout
}

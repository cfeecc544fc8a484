package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidegate.io/tidegate/policies/eval/cuepolicy"
)

const (
	// procs is the parallelism of a child: one thread that works, and one that collects and
	// notices that the parent has gone.
	procs = 2
	// keptLog is how much of what a child writes is kept, to see what it died of.
	keptLog = 1 << 10
	// stopPatience is how long a child that is let go may take to end.
	stopPatience = 5 * time.Second
	// fatal is the exit code that the Go runtime gives to a program that panics or has no
	// memory left.
	fatal = 2
)

// process is one child.
type process struct {
	stdin  *os.File
	stdout *os.File
	reader *bufio.Reader
	cmd    *exec.Cmd
	// exited is closed when the child has ended and cmd.ProcessState says how.
	exited chan struct{}
	said   *head
	// known are the digests of the templates, and policies, that the child was sent. It may have
	// forgotten some, and says so.
	known map[string]bool
	// served is how many requests it has answered.
	served int
	// inherited is the most memory that the parent had held when the child had started: the
	// system counts it as the child's own, since the child begins as a copy.
	inherited int64
	// seen is the most memory that the child was seen to hold.
	seen int64
	// worked is the processor time that it had used up by the last of them.
	worked time.Duration
}

// start starts a child. Its environment is empty: it needs none, and what a template can
// be made to say must hold no secret of the manager's.
func start(command []string, memory int64) (*process, error) {
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting a render worker: %w", err)
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting a render worker: %w", err), inRead.Close(), inWrite.Close())
	}
	// Not tied to the context of a request: a worker outlives it.
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...) //nolint:gosec // our own binary
	p := &process{
		stdin: inWrite, stdout: outRead, reader: bufio.NewReader(outRead), cmd: cmd,
		exited: make(chan struct{}), said: &head{}, known: map[string]bool{},
	}
	cmd.Env = []string{fmt.Sprintf("GOMAXPROCS=%d", procs), "GOTRACEBACK=none"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inRead, outWrite, p.said
	cmd.SysProcAttr = attributes()
	started := make(chan error)
	go func() {
		// The system kills the child when the thread that started it ends, so this one is
		// kept until the child has ended by itself.
		runtime.LockOSThread()
		err := cmd.Start()
		p.inherited = ownPeak() // not before: others in this process may take memory meanwhile
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in ProcessState
		}
		close(p.exited)
	}()
	err = <-started
	// The child has its own copies.
	err = errors.Join(err, inRead.Close(), outWrite.Close())
	if err == nil {
		err = writeFrame(p.stdin, hello{Memory: memory})
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("starting a render worker: %w", err)
	}
	return p, nil
}

// ask sends a request and waits for its reply. A child that has not seen the template is
// sent its files.
func (p *process) ask(q request) (*reply, error) {
	whole := q
	if q.Digest != "" && p.known[q.Digest] {
		q.Files = nil
	}
	if q.Op == OpPolicyJudge { // what is only compiled is not kept
		q.Asked = p.unseen(q.Asked)
	}
	for resent := false; ; resent = true {
		if err := writeFrame(p.stdin, q); err != nil {
			return nil, err
		}
		answer, err := p.reply(q.parts)
		if err != nil {
			return nil, err
		}
		if answer.Unknown {
			if resent {
				return nil, errors.New("waiting for a render worker: it asked for files that it was sent")
			}
			q.Files, q.Asked = whole.Files, whole.Asked
			continue
		}
		if q.Digest != "" {
			p.known[q.Digest] = true
		}
		if q.Op == OpPolicyJudge {
			for _, a := range q.Asked {
				p.known[a.Digest] = true
			}
		}
		p.served++
		return answer, nil
	}
}

// reply reads the next reply, and the parts that come before it.
func (p *process) reply(follow *parts) (*reply, error) {
	for {
		var answer reply
		if err := readFrame(p.reader, &answer); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("waiting for a render worker: %w", err)
		}
		if answer.Part == nil {
			return &answer, nil
		}
		if follow == nil {
			return nil, errors.New("waiting for a render worker: it answered in parts what was asked as a whole")
		}
		if err := follow.take(answer.Part); err != nil {
			return nil, err
		}
	}
}

// unseen are the policies without the sources of those that the child was sent before.
func (p *process) unseen(all []cuepolicy.Asked) []cuepolicy.Asked {
	out := slices.Clone(all)
	for i := range out {
		if p.known[out[i].Digest] {
			out[i].Source = ""
		}
	}
	return out
}

// kill ends the child at once and waits until it has gone.
func (p *process) kill() {
	if p.cmd.Process != nil {
		_ = p.cmd.Process.Kill() // it may have ended by itself
	}
	p.stop()
}

// stop lets the child end by itself, which it does when its input ends, and waits until it
// has gone. One that does not is killed.
func (p *process) stop() {
	_ = p.stdin.Close()
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-p.exited:
	case <-patience.C:
		if p.cmd.Process != nil {
			_ = p.cmd.Process.Kill() // it may have ended just now
		}
		<-p.exited
	}
	_ = p.stdout.Close()
}

// wentWrong says why a child died that the parent did not kill: by its own work, in which
// case the same work would kill the next one, or by something from outside. Memory is what
// it may hold.
func (p *process) wentWrong(memory int64) (cause Cause, byItself bool) {
	if p.cmd.ProcessState == nil {
		return CauseCrash, false
	}
	// Out of memory, the runtime ends in many ways, and the system may be quicker.
	if memory > 0 && p.held() > memory/2 {
		return CauseMemory, true
	}
	if p.cmd.ProcessState.ExitCode() != fatal {
		return CauseCrash, false
	}
	// One request for more than there is leaves no other sign than these words.
	if text := p.said.String(); strings.Contains(text, "out of memory") || strings.Contains(text, "cannot allocate memory") {
		return CauseMemory, true
	}
	return CauseCrash, true
}

// vague is by how much the system's figures of memory may be wrong: each processor keeps what
// it has not added up yet.
const vague = 8 << 20

// held is the most memory that the child, which has ended, held as far as is known.
func (p *process) held() int64 {
	if most := peak(p.cmd.ProcessState); most > p.inherited+vague {
		return most
	}
	return p.seen
}

// killed says whether the child, which has ended, was killed.
func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// head keeps the first of what a child writes: the Go runtime says first what it died of.
// The rest is dropped, since a child must not be able to fill the log.
type head struct {
	mu   sync.Mutex
	kept []byte
}

func (h *head) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept = append(h.kept, b[:min(keptLog-len(h.kept), len(b))]...)
	return len(b), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.kept)
}

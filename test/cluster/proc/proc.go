// Package proc starts the processes of a local cluster so that none of them can outlive it, and
// tells them apart from strangers that were given the same process id later.
//
// Three things keep a machine clean. A child has its own process group, so that a signal meant for
// the owner's terminal does not reach it and one signal reaches all it forked. A child is killed by
// the kernel when its owner dies, however the owner dies (Linux, PR_SET_PDEATHSIG). And an
// [Identity] written to disk lets a later process end what a crash left behind, without ever
// touching a process that merely has the same number.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Spec says what to run.
type Spec struct {
	// Path is the executable, absolute.
	Path string
	// Args are the arguments without the program's name.
	Args []string
	// Env is the whole environment; nil inherits the owner's.
	Env []string
	// Dir is the working directory; empty is the owner's.
	Dir string
	// LogPath receives stdout and stderr, appended.
	LogPath string
}

// Process is a started child.
type Process struct {
	id      Identity
	logPath string
	done    chan struct{}
	err     error // valid after done is closed
}

// Start runs a child that lives no longer than this process.
func Start(s Spec) (*Process, error) {
	log, err := os.OpenFile(s.LogPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", s.Path, err)
	}
	defer log.Close() //nolint:errcheck // the child has its own copy
	// The command outlives the call that starts it, so no context bounds it: Stop ends it.
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env, cmd.Dir = s.Env, s.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = boundToOwner()
	if err := fork(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.Path, err)
	}
	p := &Process{logPath: s.LogPath, done: make(chan struct{})}
	p.id, err = Identify(cmd.Process.Pid)
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	// A child that has ended already has no identity to take; its Wait tells why.
	if err != nil && !errors.Is(err, ErrGone) {
		_ = cmd.Process.Kill()
		<-p.done
		return nil, fmt.Errorf("identifying %s: %w", s.Path, err)
	}
	p.id.PID = cmd.Process.Pid
	return p, nil
}

// Detach starts a child that lives on after this process, in a session of its own.
// It is the one exception to the rule of this package, for the keeper of a background cluster.
func Detach(s Spec) (Identity, error) {
	log, err := os.OpenFile(s.LogPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Identity{}, fmt.Errorf("opening the log of %s: %w", s.Path, err)
	}
	defer log.Close() //nolint:errcheck // the child has its own copy
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env, cmd.Dir = s.Env, s.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Identity{}, fmt.Errorf("starting %s: %w", s.Path, err)
	}
	// Reap it if it ends while we still live, so that it does not linger as a zombie.
	go func() { _ = cmd.Wait() }()
	return Identify(cmd.Process.Pid)
}

// Identity returns what to write down to find this process again.
func (p *Process) Identity() Identity { return p.id }

// LogPath returns the file that receives the output.
func (p *Process) LogPath() string { return p.logPath }

// Done is closed when the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended, nil while it runs or when it ended with code 0.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop asks the process to end, waits for grace, then kills it with all it forked. It returns when
// nothing is left, early (by killing) when ctx ends. A process that has ended already is no error.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := signalGroup(p.id.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping process %d: %w", p.id.PID, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	// The group may have members that outlived its leader.
	if err := signalGroup(p.id.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing process %d: %w", p.id.PID, err)
	}
	<-p.done // SIGKILL cannot be refused
	return nil
}

// signalGroup signals a process group; a group that is gone is no error.
func signalGroup(pgid int, sig syscall.Signal) error {
	if err := syscall.Kill(-pgid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// The kernel sends the parent-death signal when the *thread* that forked ends, not the process. So
// all forks happen on one thread that is never given back.
var (
	forkOnce sync.Once
	forks    chan forkRequest
)

type forkRequest struct {
	cmd    *exec.Cmd
	result chan<- error
}

func fork(cmd *exec.Cmd) error {
	forkOnce.Do(func() {
		forks = make(chan forkRequest)
		go func() {
			runtime.LockOSThread()
			for r := range forks {
				r.result <- r.cmd.Start()
			}
		}()
	})
	result := make(chan error, 1)
	forks <- forkRequest{cmd: cmd, result: result}
	return <-result
}

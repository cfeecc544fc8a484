// Package bounded runs a command in a child process that may hold only so much memory. The
// engine cannot be bounded from inside: a template of a few lines can ask for all memory
// there is, and the Go runtime then ends the process with a dump of its own. A child that
// does is answered for in words; the machine is not hurt.
//
// The child is this program once more, with the same arguments, input and output. Its
// messages go to the parent's standard error by a file of their own, so that what the
// runtime writes can be told from them.
package bounded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	// mark is the variable of the environment that tells a process that it is a child, and how
	// many bytes it may hold.
	mark = "TIDEGATE_BOUNDED"
	// Variable is the one by which people say how much it may be, such as 4Gi.
	Variable = "TIDEGATE_MEMORY"
	// usual is how many bytes a child may hold. A good template needs some ten MiB, and some
	// thousand Releases some hundred.
	usual = 2 << 30
	// least is what this program needs for itself.
	least = 128 << 20
	// maxStack ends endless recursion long before its memory does.
	maxStack = 64 << 20
	// poll is how often a child looks at what it holds.
	poll = 20 * time.Millisecond
	// keptDump is how much is kept of what the runtime writes when it ends a child.
	keptDump = 64 << 10
	// patience is how long an interrupted child may take to end.
	patience = 5 * time.Second
	// fatal is the exit code that the Go runtime gives to what it ends.
	fatal = 2
	// signalled and the number of a signal are the exit code that shells give to what the
	// signal ended.
	signalled = 128
)

// The files that a child has besides its input and outputs.
const (
	messagesFile = 3
	// parentFile ends when the parent does.
	parentFile = 4
)

// MemoryError is: the child asked for more memory than it may hold.
type MemoryError struct {
	// Limit is in bytes.
	Limit int64
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("TG-RENDER-BUDGET: wanted the template to be done within %v of memory, found that more was needed; look for text that doubles again and again, long lists, nested loops, and alternatives that multiply, in the values first and then in the template; where it is right, set %s to more",
		resource.NewQuantity(e.Limit, resource.BinarySI), Variable)
}

// ErrStack is: the child recursed without end.
var ErrStack = errors.New("TG-RENDER-BUDGET: wanted the template to be done, found that the engine called itself without end; look for definitions that hold themselves")

// Supported says whether there can be a child: Windows hands no files on.
const Supported = runtime.GOOS != "windows"

// Child says whether this process is a child. If so it is bounded from now on, and messages
// is where it writes what people are to read.
func Child() (messages *os.File, ok bool) {
	memory, err := strconv.ParseInt(os.Getenv(mark), 10, 64)
	if err != nil {
		return nil, false
	}
	// Programs that this one starts are not children.
	_ = os.Unsetenv(mark)
	syscall.CloseOnExec(messagesFile)
	syscall.CloseOnExec(parentFile)
	debug.SetMaxStack(maxStack)
	// From here on it collects garbage whatever that costs.
	debug.SetMemoryLimit(memory / 4 * 3)
	bytes := uint64(memory) //nolint:gosec // Above 0.
	limit(bytes)
	go watch(bytes, func() {
		_, _ = fmt.Fprintln(os.NewFile(2, "stderr"), "fatal error: out of memory")
		os.Exit(fatal)
	})
	go func() {
		// Nothing is written to it: it ends when the parent has gone.
		_, _ = io.Copy(io.Discard, os.NewFile(parentFile, "parent"))
		os.Exit(fatal)
	}()
	return os.NewFile(messagesFile, "stderr"), true
}

// watch calls over when this process holds more than so many bytes. It comes too late for
// what asks for all at once, which the limit of the system is for.
func watch(bytes uint64, over func()) {
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for range time.Tick(poll) {
		metrics.Read(held)
		if held[0].Value.Uint64()-held[1].Value.Uint64() > bytes {
			over()
			return
		}
	}
}

// Run runs this program once more as a child, and returns its exit code. The error is a
// *MemoryError or ErrStack where the runtime ended it, or says why it could not be started.
// When ctx ends the child is interrupted.
func Run(ctx context.Context, args []string, messages *os.File) (int, error) {
	memory, err := wanted(os.Getenv(Variable))
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding this program: %w", err)
	}
	alive, parent, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("starting a child: %w", err)
	}
	defer func() { _ = errors.Join(alive.Close(), parent.Close()) }() // Nothing was written.
	dump := &head{}
	cmd := exec.CommandContext(ctx, self, args[1:]...) //nolint:gosec // This very program.
	cmd.Args[0] = args[0]
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", mark, memory))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, dump
	cmd.ExtraFiles = []*os.File{messages, alive}
	// The terminal has interrupted it already, if that is where it came from.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return 0, fmt.Errorf("starting a child: %w", err)
	}
	code := cmd.ProcessState.ExitCode()
	var killer syscall.Signal
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		killer = status.Signal()
		code = signalled + int(killer)
	}
	if err := cause(killer, string(dump.kept), memory); err != nil && ctx.Err() == nil {
		return code, err
	}
	_, _ = messages.Write(dump.kept)
	return code, nil
}

// wanted is how many bytes people say that a child may hold.
func wanted(text string) (int64, error) {
	if text == "" {
		return usual, nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Value() < least {
		return 0, fmt.Errorf("wanted an amount of memory in %s, of at least %v, such as 4Gi, found %q", Variable, resource.NewQuantity(least, resource.BinarySI), text)
	}
	return q.Value(), nil
}

// cause is why the runtime, or the system, ended a child; nil where it ended by itself, or by
// a mistake of this program's, which is then to be read. Killer is the signal that ended it.
func cause(killer syscall.Signal, dump string, memory int64) error {
	switch {
	case strings.Contains(dump, "stack overflow"):
		return ErrStack
	case strings.Contains(dump, "concurrent map"), strings.Contains(dump, "deadlock"):
		return nil
	case strings.Contains(dump, "fatal error: "), strings.Contains(dump, "out of memory"):
		// Out of memory, the runtime ends in many ways.
		return &MemoryError{Limit: memory}
	case killer == syscall.SIGKILL:
		// The system kills who takes the machine's last memory.
		return &MemoryError{Limit: memory}
	}
	return nil
}

// head keeps the first of what is written.
type head struct{ kept []byte }

func (h *head) Write(b []byte) (int, error) {
	h.kept = append(h.kept, b[:min(keptDump-len(h.kept), len(b))]...)
	return len(b), nil
}

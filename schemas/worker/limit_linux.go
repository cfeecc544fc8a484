package worker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// addressSlack is the address space that a Go program reserves and never touches, about
// 1.2 GiB, and some more for its threads.
const addressSlack = 3 << 29 // 1.5 GiB

// limitMemory makes the system refuse this process more than so many bytes of data, after
// which the Go runtime ends it. The limit of data counts what is written to; that of the
// address space counts everything, and is the one that every kernel keeps.
func limitMemory(bytes int64) error {
	for _, limit := range []struct {
		name     string
		resource int
		bytes    int64
	}{{"data", syscall.RLIMIT_DATA, bytes}, {"address space", syscall.RLIMIT_AS, bytes + addressSlack}} {
		value := syscall.Rlimit{Cur: uint64(limit.bytes), Max: uint64(limit.bytes)} //nolint:gosec // above 0
		if err := syscall.Setrlimit(limit.resource, &value); err != nil {
			return fmt.Errorf("limiting the %s to %d bytes: %w", limit.name, limit.bytes, err)
		}
	}
	return nil
}

// resident returns the memory that a process holds in bytes, 0 when it is gone.
func resident(pid int) int64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(raw)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// tick is the unit of the times in /proc: the system counts in hundredths of a second on
// every architecture that this runs on, whatever it does inside.
const tick = 10 * time.Millisecond

// processorTime returns how long a process, with all its threads, worked so far; ok is
// false when nobody can tell.
func processorTime(pid int) (worked time.Duration, ok bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat") //nolint:gosec // a number cannot lead anywhere else
	if err != nil {
		return 0, false
	}
	// The second field is a name in brackets that may hold anything. Of those after it, the
	// 12th and the 13th are the ticks in the program and in the system (proc_pid_stat(5)).
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) < 13 {
		return 0, false
	}
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, false
		}
		worked += time.Duration(ticks) * tick
	}
	return worked, true
}

// peak is the most memory that a process ever held, in bytes.
func peak(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss << 10
}

// ownPeak is the most memory that this process ever held, in bytes.
func ownPeak() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Maxrss << 10
}

// attributes make the system kill the child when the thread that started it ends, and keep
// the signals of a terminal from it: the parent answers what is under way before it ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// awaitHangup returns when nobody can write to the pipe any more. It reads nothing: asking
// the system for no event at all leaves the hangup.
func awaitHangup(pipe *os.File) {
	asked := []unix.PollFd{{Fd: int32(pipe.Fd())}} //nolint:gosec // a file's number is small
	for asked[0].Revents == 0 {
		if _, err := unix.Poll(asked, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return // a pipe that the system does not know is nobody's
		}
	}
}

package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// boundToOwner gives a child its own process group and has the kernel kill it when we die.
func boundToOwner() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// bootID tells one run of the kernel from the next, since start times count from boot.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
})

// startOf reads when a process started: "<boot>/<clock ticks since boot>".
func startOf(pid int) (string, error) {
	boot, err := bootID()
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", ErrGone
	}
	if err != nil {
		return "", fmt.Errorf("reading the state of process %d: %w", pid, err)
	}
	return parseStat(boot, string(stat))
}

// parseStat picks the start time from proc(5) stat. The command's name, field 2, may hold spaces
// and brackets, so that fields are counted from the last bracket on.
func parseStat(boot, stat string) (string, error) {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return "", fmt.Errorf("parsing process state %q: no command name", stat)
	}
	fields := strings.Fields(stat[i+1:]) // field 3 (state) is fields[0]
	const state, start = 0, 22 - 3
	if len(fields) <= start {
		return "", fmt.Errorf("parsing process state %q: %d fields", stat, len(fields))
	}
	if s := fields[state]; s == "Z" || s == "X" {
		return "", ErrGone
	}
	return boot + "/" + fields[start], nil
}

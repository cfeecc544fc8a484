//go:build !linux

package proc

import (
	"errors"
	"syscall"
)

// boundToOwner can only give a child its own process group here.
func boundToOwner() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// startOf needs Linux: without it a recycled process id cannot be told from ours, and without the
// parent-death signal a crash would leave servers behind.
func startOf(int) (string, error) {
	return "", errors.New("the local cluster runs on Linux only: it relies on /proc and on a signal at the parent's death")
}

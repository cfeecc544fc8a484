package worker

import "syscall"

// largestChild is the most memory that a child of this process ever held, in bytes.
func largestChild() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage); err != nil {
		return 0
	}
	return usage.Maxrss << 10
}
